/* Steadfast in a C program: a station on a TAP device that takes part in elections.
 *
 * What a router's firmware has already is here as small as it can be: a way to send and receive Ethernet frames, a clock,
 * and an IP stack that answers ARP, Neighbour Solicitations and echoes for the addresses that it holds. Steadfast sits
 * between the two: every received frame goes through steadfast_receive, every frame of the stack's own through
 * steadfast_transmit.
 *
 *   tap --tap DEVICE [--interface NAME] [--mac ADDRESS] --address ADDRESS[/PREFIX]... CONFIGURATION
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "steadfast.h"

#define FRAME 1518 /* the longest frame, with a tag */
#define ADDRESSES 32

/* Steadfast's memory, as aligned as it wants. */
static union {
    uint64_t align;
    uint8_t bytes[STEADFAST_MEMORY_SIZE];
} memory;

static Steadfast *vrrp;
static int tap = -1;
static uint8_t station[6] = {0x02, 0x53, 0x46, 0, 0, 1};
static volatile sig_atomic_t stopping;

/* The addresses that the stack holds: its own ones, and virtual ones while Steadfast lends them. */
static SteadfastAddress held[ADDRESSES];
static size_t held_count;
static size_t own_count;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* ---- What Steadfast asks of the hardware. ---- */

static bool send_frame(void *context, uint16_t interface, const uint8_t *frame, size_t length) {
    (void)context, (void)interface;
    /* A full queue is the one reason to be asked again. */
    return write(tap, frame, length) >= 0 || errno != EAGAIN;
}

static void hear(void *context, uint16_t interface, const uint8_t *mac, bool on) {
    /* A network controller's receive filter is set here; a TAP device hears everything. */
    (void)context, (void)interface, (void)mac, (void)on;
}

static bool same(const SteadfastAddress *a, const SteadfastAddress *b) {
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0;
}

static void lend_address(void *context, uint16_t interface, const SteadfastAddress *address, bool on) {
    (void)context, (void)interface;
    size_t at = own_count;
    while (at < held_count && !same(&held[at], address)) at++;
    if (on && at == held_count && at < ADDRESSES) held[held_count++] = *address;
    if (!on && at < held_count) held[at] = held[--held_count];
}

static void tell(void *context, const SteadfastEvent *event) {
    static const char *const states[] = {"initialize", "backup", "active"};
    (void)context;
    if (event->kind == STEADFAST_EVENT_KIND_TRANSITION) {
        printf("router %u: %s -> %s\n", (unsigned)event->router, states[event->from], states[event->to]);
    } else {
        printf("router %u: another Active is on the LAN\n", (unsigned)event->router);
    }
    fflush(stdout);
}

static void complain(void *context, SteadfastSeverity severity, uint32_t line, uint32_t column, const char *text) {
    static const char *const severities[] = {"notice", "warning", "error"};
    fprintf(stderr, "%s:%u:%u: %s: %s\n", (const char *)context, (unsigned)line, (unsigned)column,
            severities[severity], text);
}

/* ---- The smallest IP stack that can be seen: it answers for the addresses it holds. ---- */

static bool holds(uint8_t family, const uint8_t *bytes) {
    SteadfastAddress address = {0};
    address.family = family;
    memcpy(address.bytes, bytes, family == 4 ? 4 : 16);
    for (size_t at = 0; at < held_count; at++) {
        if (same(&held[at], &address)) return true;
    }
    return false;
}

static uint16_t checksum(uint32_t sum, const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at + 1 < length; at += 2) sum += (uint32_t)(bytes[at] << 8 | bytes[at + 1]);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void swap(uint8_t *a, uint8_t *b, size_t length) {
    while (length--) {
        uint8_t byte = *a;
        *a++ = *b;
        *b++ = byte;
    }
}

/* Sends the stack's own frame: Steadfast gives it the virtual MAC where it speaks from a virtual address. */
static void stack_sends(uint16_t interface, uint8_t *frame, size_t length) {
    const uint8_t *out;
    size_t out_length;
    if (steadfast_transmit(vrrp, interface, frame, FRAME, length, &out, &out_length) == STEADFAST_RESULT_OK) {
        send_frame(NULL, interface, out, out_length);
    }
}

/* ICMP and ICMPv6 checksums differ between request and reply by the type alone (RFC 1624). */
static void echo_reply(uint8_t *icmp, uint8_t request, uint8_t reply) {
    uint32_t sum = (uint32_t)(icmp[2] << 8 | icmp[3]) + (uint32_t)((request - reply) * 256 + 0xffff);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    icmp[0] = reply;
    put(icmp + 2, (uint16_t)sum);
}

static void stack_receives(uint16_t interface, const uint8_t *received, size_t length) {
    uint8_t frame[FRAME];
    if (length < 42 || length > sizeof frame) return;
    memcpy(frame, received, length);
    uint8_t *ip = frame + 14, asked[16];
    unsigned type = (unsigned)(frame[12] << 8 | frame[13]);
    memcpy(frame, frame + 6, 6);
    memcpy(frame + 6, station, 6);
    if (type == 0x0806 && ip[7] == 1 && holds(4, ip + 24)) {
        /* ARP: who has an address of ours? */
        put(ip + 6, 2);
        memcpy(asked, ip + 24, 4);
        memcpy(ip + 18, ip + 8, 10);
        memcpy(ip + 8, station, 6);
        memcpy(ip + 14, asked, 4);
        stack_sends(interface, frame, length);
    } else if (type == 0x0800 && ip[0] == 0x45 && ip[9] == 1 && ip[20] == 8 && holds(4, ip + 16)) {
        /* ICMP: an echo. */
        swap(ip + 12, ip + 16, 4);
        echo_reply(ip + 20, 8, 0);
        stack_sends(interface, frame, length);
    } else if (type == 0x86dd && length >= 62 && ip[6] == 58 && ip[40] == 128 && holds(6, ip + 24)) {
        /* ICMPv6: an echo. */
        swap(ip + 8, ip + 24, 16);
        echo_reply(ip + 40, 128, 129);
        stack_sends(interface, frame, length);
    } else if (type == 0x86dd && length >= 78 && ip[6] == 58 && ip[40] == 135 && ip[7] == 255 && holds(6, ip + 48)) {
        /* ICMPv6: a Neighbour Solicitation, answered with a solicited Advertisement and the option of our MAC. */
        memcpy(asked, ip + 48, 16);
        memcpy(ip + 24, ip + 8, 16);
        memcpy(ip + 8, asked, 16);
        put(ip + 4, 32);
        memset(ip + 40, 0, 8);
        ip[40] = 136, ip[44] = 0x60;
        ip[64] = 2, ip[65] = 1;
        memcpy(ip + 66, station, 6);
        put(ip + 42, checksum(32 + 58, ip + 8, 64));
        stack_sends(interface, frame, 14 + 72);
    }
}

/* ---- The rest is Linux: the device, the command line, the loop. ---- */

static void stop(int signal) {
    (void)signal;
    stopping = 1;
}

static void open_tap(const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= sizeof request.ifr_name) fail("%s: the name is too long", name);
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0) fail("%s: %s", name, strerror(errno));
}

static char *read_file(const char *path, size_t *length) {
    static char text[65536];
    FILE *file = fopen(path, "rb");
    if (!file) fail("%s: %s", path, strerror(errno));
    *length = fread(text, 1, sizeof text, file);
    if (*length == sizeof text) fail("%s: too long", path);
    fclose(file);
    return text;
}

static void add_own(const char *text) {
    char address[64];
    snprintf(address, sizeof address, "%.*s", (int)strcspn(text, "/"), text);
    SteadfastAddress *place = &held[held_count];
    place->family = strchr(address, ':') ? 6 : 4;
    if (held_count == ADDRESSES || inet_pton(place->family == 4 ? AF_INET : AF_INET6, address, place->bytes) != 1) {
        fail("%s is no address", text);
    }
    own_count = ++held_count;
}

static void check(SteadfastResult result, const char *what) {
    if (result != STEADFAST_RESULT_OK) fail("%s: result %d", what, (int)result);
}

int main(int count, char **words) {
    const char *device = NULL, *name = NULL, *configuration = NULL;
    for (int at = 1; at < count; at++) {
        const char *value = at + 1 < count ? words[at + 1] : "";
        if (strncmp(words[at], "--", 2) != 0) {
            configuration = words[at];
            continue;
        }
        unsigned mac[6];
        if (strcmp(words[at], "--tap") == 0) {
            device = value;
        } else if (strcmp(words[at], "--interface") == 0) {
            name = value;
        } else if (strcmp(words[at], "--address") == 0) {
            add_own(value);
        } else if (strcmp(words[at], "--mac") == 0 && sscanf(value, "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2],
                                                            &mac[3], &mac[4], &mac[5]) == 6) {
            for (size_t byte = 0; byte < 6; byte++) station[byte] = (uint8_t)mac[byte];
        } else {
            fail("what is %s %s?", words[at], value);
        }
        at++;
    }
    if (!device || !configuration || !own_count) fail("--tap, --address and a configuration are wanted");
    if (!name) name = device;
    open_tap(device);
    struct sigaction action = {0};
    action.sa_handler = stop;
    sigset_t blocked, unblocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &unblocked);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    static const SteadfastHardware hardware = {NULL, send_frame, hear, lend_address, NULL, tell};
    check(steadfast_create(memory.bytes, sizeof memory, &hardware, &vrrp), "steadfast_create");
    uint16_t interface;
    check(steadfast_add_interface(vrrp, name, strlen(name), station, 0, &interface), "steadfast_add_interface");
    for (size_t at = 0; at < own_count; at++) {
        const SteadfastAddress *own = &held[at];
        bool source = own->family == 4 || (own->bytes[0] == 0xfe && (own->bytes[1] & 0xc0) == 0x80);
        if (source) check(steadfast_source(vrrp, now(), interface, own->family, own), "steadfast_source");
    }
    size_t length;
    const char *text = read_file(configuration, &length);
    if (steadfast_configure(vrrp, now(), text, length, complain, (void *)configuration) != STEADFAST_RESULT_OK) {
        fail("%s: not taken", configuration);
    }
    check(steadfast_link(vrrp, now(), interface, true), "steadfast_link");

    bool stopped = false;
    uint64_t next = 0;
    while (!stopped || !steadfast_is_idle(vrrp)) {
        uint64_t at = now();
        if (next > at) {
            struct pollfd wait = {tap, POLLIN, 0};
            struct timespec pause = {(time_t)((next - at) / 1000000), (long)((next - at) % 1000000) * 1000};
            if (next - at > 3600u * 1000000u) pause.tv_sec = 3600;
            ppoll(&wait, 1, &pause, &unblocked);
        }
        if (stopping && !stopped) {
            /* Hands over to the Backup; the addresses stay until it has been heard. */
            check(steadfast_shutdown(vrrp, now()), "steadfast_shutdown");
            stopped = true;
        }
        /* The time is read before the queue is emptied, so that no deadline fires ahead of what came before it. */
        at = now();
        for (int budget = 64; budget > 0; budget--) {
            uint8_t frame[FRAME];
            const uint8_t *up;
            size_t up_length;
            ssize_t got = read(tap, frame, sizeof frame);
            if (got <= 0) break;
            if (steadfast_receive(vrrp, at, interface, frame, (size_t)got, &up, &up_length) == STEADFAST_RECEIVED_UP) {
                stack_receives(interface, up, up_length);
            }
        }
        check(steadfast_poll(vrrp, at, &next), "steadfast_poll");
    }
    char status[4096];
    size_t whole;
    check(steadfast_status(vrrp, now(), status, sizeof status, &whole), "steadfast_status");
    fputs(status, stdout);
    return 0;
}
