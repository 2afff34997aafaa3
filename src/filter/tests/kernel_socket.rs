//! A pair of netlink sockets on which the kernel runs a filter's program, as on the drop monitor's
//! messages.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname,
    recv, sendto, socket,
};

use super::super::Filter;
use super::super::kernel::KernelPart;
use super::messages::{AlertMessage, FAMILY};
use super::parse;
use crate::bpf::MAX_LEN;
use crate::net_dm::alert::Alert;
use crate::net_dm::content::Content;
use crate::net_dm::netlink::{ByteOrder, Messages};
use crate::net_dm::socket::attach_filter;
use crate::net_dm::{attr, cmd};
use crate::packet::ArpHardware;
use crate::record::{DropRecord, Timestamp};

/// Two sockets, of which one sends to the other. They use a netlink protocol for user space alone,
/// so that no privilege is needed.
pub struct Sockets {
    sender: OwnedFd,
    receiver: OwnedFd,
    address: NetlinkAddr,
    buffer: Vec<u8>,
}

impl Sockets {
    fn open() -> Self {
        let open = || {
            let protocol = SockProtocol::NetlinkUserSock;
            let one = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                protocol,
            )
            .expect("this test needs netlink sockets (NETLINK_USERSOCK)");
            bind(one.as_raw_fd(), &NetlinkAddr::new(0, 0)).unwrap();
            one
        };
        let (sender, receiver) = (open(), open());
        let address = getsockname(receiver.as_raw_fd()).unwrap();
        let mut sockets = Self {
            sender,
            receiver,
            address,
            buffer: vec![0; 100_000],
        };
        let message = AlertMessage::default().encode();
        assert!(
            sockets.delivers(&message),
            "this test needs netlink sockets that send to each other"
        );
        sockets
    }

    /// Sends a message and returns whether it arrives.
    pub fn delivers(&mut self, message: &[u8]) -> bool {
        let sent = sendto(
            self.sender.as_raw_fd(),
            message,
            &self.address,
            MsgFlags::empty(),
        );
        assert_eq!(sent, Ok(message.len()));
        match recv(
            self.receiver.as_raw_fd(),
            &mut self.buffer,
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(len) => {
                assert_eq!(&self.buffer[..len], message, "cut by the filter");
                true
            }
            Err(nix::Error::EAGAIN) => false,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }

    pub fn attach(&self, filter: &Filter) -> Option<KernelPart> {
        let kernel = filter.in_kernel(FAMILY, MAX_LEN).ok()?;
        attach_filter(self.receiver.as_fd(), &kernel.program)
            .unwrap_or_else(|error| panic!("{error}: {filter}\n{}", kernel.program));
        Some(kernel.part)
    }
}

/// The hardware types that user space may know: that of the device in the alert, and that of the
/// local device with its index.
#[derive(Clone, Copy, Debug)]
pub struct DeviceTypes {
    pub named: Option<ArpHardware>,
    pub guess: Option<ArpHardware>,
}

/// Calls `act` with the records of a message, as `source::net_dm` decodes them.
pub fn for_each_record(message: &[u8], devices: DeviceTypes, mut act: impl FnMut(&DropRecord<'_>)) {
    for message in Messages::new(message, ByteOrder::NATIVE) {
        let Some(generic) = message.generic(ByteOrder::NATIVE) else {
            continue;
        };
        if message.kind != FAMILY || generic.command != cmd::PACKET_ALERT {
            continue;
        }
        let alert = Alert::decode(generic.attributes);
        let certain = match alert.input {
            Some(input) if input.key.index == 1 => Some(ArpHardware(772)),
            Some(input) if input.name().is_some() => devices.named,
            _ => None,
        };
        // The kernel delivers every alert about an alert; this process discards it.
        if matches!(alert.content, Content::Netlink { kind } if kind == FAMILY) {
            continue;
        }
        let guess = alert.input.and(devices.guess);
        act(&alert.record(Some(Timestamp(0)), certain, guess, None));
    }
}

/// Returns whether every alert in the message has protocol 0.
pub fn has_no_protocol(message: &[u8]) -> bool {
    let mut is_so = true;
    for message in Messages::new(message, ByteOrder::NATIVE) {
        let mut attributes = message.generic(ByteOrder::NATIVE).unwrap().attributes;
        is_so &= attributes.any(|attribute| attribute == (attr::PROTO, &[0, 0]));
    }
    is_so
}

thread_local! {
    pub static SOCKETS: std::cell::RefCell<Sockets> = std::cell::RefCell::new(Sockets::open());
}

/// Returns whether the kernel delivers the message with `text` as the filter, and the part that it
/// runs; `None` where it can run no part.
pub fn delivered(text: &str, message: &[u8]) -> Option<(bool, KernelPart)> {
    SOCKETS.with_borrow_mut(|sockets| {
        let part = sockets.attach(&parse(text))?;
        Some((sockets.delivers(message), part))
    })
}
