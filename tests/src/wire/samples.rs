//! Arbitrary right Advertisements, as proptest strategies. What is done with them is in `tests/tests/wire_*.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use steadfast_core::types::{Family, Interval, Priority, Version, Vrid};
use steadfast_core::wire::advertisement::{Authentication, Form, Outgoing};
use steadfast_core::wire::{Envelope, GROUP_V4, GROUP_V6, HOP_LIMIT};

/// An Advertisement to be sent, with what goes around it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// 2 or 3; 2 only over IPv4.
    pub version: Version,
    /// The Virtual Router.
    pub vrid: Vrid,
    /// The priority.
    pub priority: Option<Priority>,
    /// An interval that the version can carry.
    pub interval: Interval,
    /// None in version 3.
    pub authentication: Authentication,
    /// One address at least.
    pub addresses: Vec<IpAddr>,
    /// From whom to whom.
    pub envelope: Envelope,
    /// The checksum form asked for.
    pub form: Form,
}

impl Sample {
    /// The family of source, destination and addresses.
    pub fn family(&self) -> Family {
        Family::of(&self.envelope.source)
    }

    /// What the core is asked to send.
    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            version: self.version,
            vrid: self.vrid,
            priority: self.priority,
            interval: self.interval,
            authentication: self.authentication,
            addresses: &self.addresses,
        }
    }

    /// The bytes that the core makes of it.
    ///
    /// # Panics
    ///
    /// If it has more than 255 addresses.
    pub fn emit(&self) -> Vec<u8> {
        let mut buffer = [0xa5; 4096];
        let Envelope { source, destination, .. } = self.envelope;
        let length = self.outgoing().emit(source, destination, self.form, &mut buffer).unwrap();
        buffer[..length].to_vec()
    }
}

/// Any IPv4 address.
pub fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    any::<[u8; 4]>().prop_map(Ipv4Addr::from)
}

/// Any IPv6 address, often with runs of zeros and ones.
pub fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    let group = prop_oneof![2 => Just(0_u16), 1 => Just(0xffff), 3 => any::<u16>()];
    prop::array::uniform8(group).prop_map(Ipv6Addr::from)
}

/// Any right Advertisement, with up to `most` addresses.
pub fn advertisement(most: usize) -> impl Strategy<Value = Sample> {
    prop_oneof![version_2(most), version_3(most, Family::V4), version_3(most, Family::V6)]
}

fn version_2(most: usize) -> BoxedStrategy<Sample> {
    let authentication = prop_oneof![Just(Authentication::None), any::<[u8; 8]>().prop_map(Authentication::Simple),];
    let interval = (1..=u8::MAX).prop_map(|seconds| Interval::from_seconds(seconds).unwrap());
    (common(most, Family::V4), interval, authentication)
        .prop_map(|(sample, interval, authentication)| Sample {
            version: Version::V2,
            interval,
            authentication,
            ..sample
        })
        .boxed()
}

fn version_3(most: usize, family: Family) -> BoxedStrategy<Sample> {
    let interval = (1..=4095_u16).prop_map(|centiseconds| Interval::from_centiseconds(centiseconds).unwrap());
    (common(most, family), interval).prop_map(|(sample, interval)| Sample { interval, ..sample }).boxed()
}

fn common(most: usize, family: Family) -> impl Strategy<Value = Sample> {
    let addresses = prop::collection::vec(address(family), 1..=most);
    let group = match family {
        Family::V4 => GROUP_V4.into(),
        Family::V6 => GROUP_V6.into(),
    };
    let destination = prop_oneof![3 => Just(group), 1 => address(family)];
    let form = prop_oneof![Just(Form::Plain), Just(Form::PseudoHeader)];
    (1..=u8::MAX, any::<u8>(), addresses, address(family), destination, form).prop_map(
        |(vrid, priority, addresses, source, destination, form)| Sample {
            version: Version::V3,
            vrid: Vrid::new(vrid).unwrap(),
            priority: Priority::new(priority),
            interval: Interval::DEFAULT,
            authentication: Authentication::None,
            addresses,
            envelope: Envelope { source, destination, hop_limit: HOP_LIMIT },
            form,
        },
    )
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => ipv4().prop_map(IpAddr::V4).boxed(),
        Family::V6 => ipv6().prop_map(IpAddr::V6).boxed(),
    }
}
