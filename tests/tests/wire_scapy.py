"""Builds Ethernet frames with scapy from the descriptions that wire_differential.rs writes to standard input,
one JSON object a line, and prints each as hex. Nothing is compared here."""

import json
import socket
import sys

from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRP, VRRPv3
from scapy.utils import checksum


def advertisement(case):
    """The VRRP layer. For IPv6 scapy does not count the addresses, and the plain checksum it does not know."""
    addresses = case["addresses"]
    if case["version"] == 2:
        password = bytes.fromhex(case["password"])
        return VRRP(
            vrid=case["vrid"],
            priority=case["priority"],
            adv=case["interval"],
            addrlist=addresses,
            authtype=case["auth_type"],
            auth1=int.from_bytes(password[:4], "big"),
            auth2=int.from_bytes(password[4:], "big"),
        )
    layer = VRRPv3(
        vrid=case["vrid"],
        priority=case["priority"],
        adv=case["interval"],
        ipcount=len(addresses),
        addrlist=addresses,
    )
    if case["plain"]:
        family = socket.AF_INET
        fixed = bytes(
            [0x31, case["vrid"], case["priority"], len(addresses), case["interval"] >> 8, case["interval"] & 255, 0, 0]
        )
        layer.chksum = checksum(fixed + b"".join(socket.inet_pton(family, address) for address in addresses))
    return layer


def frame(case):
    """The whole frame."""
    ether = Ether(dst=case["to"], src=case["from"])
    if case["kind"] == "arp":
        return ether / ARP(
            op=case["operation"],
            hwsrc=case["from"],
            psrc=case["source"],
            hwdst=case["target_mac"],
            pdst=case["target"],
        )
    if case["kind"] == "na":
        flags = {"R": int(case["router"]), "S": int(case["solicited"]), "O": 1}
        return (
            ether
            / IPv6(src=case["source"], dst=case["destination"], hlim=255)
            / ICMPv6ND_NA(tgt=case["source"], **flags)
            / ICMPv6NDOptDstLLAddr(lladdr=case["from"])
        )
    if ":" in case["source"]:
        header = IPv6(src=case["source"], dst=case["destination"], hlim=255, tc=0xC0, nh=112)
    else:
        header = IP(src=case["source"], dst=case["destination"], ttl=255, tos=0xC0, id=0, flags="DF", proto=112)
    return ether / header / advertisement(case)


for line in sys.stdin:
    print(bytes(frame(json.loads(line))).hex())
