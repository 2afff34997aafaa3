//! Network namespaces in which packets are dropped on purpose. A copy of this process makes them, so that
//! this one stays where it is; they end with the copy at the latest.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use neli::consts::nl::NlmF;
use neli::consts::rtnl::{Ifla, RtAddrFamily, Rtm};
use neli::consts::socket::NlFamily;
use neli::nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder};
use neli::rtnl::{Ifinfomsg, IfinfomsgBuilder, RtattrBuilder};
use neli::socket::synchronous::NlSocketHandle;
use neli::types::RtBuffer;
use neli::utils::Groups;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use super::drops::{DISCARD, Mark, TrialDrop};
use crate::sys;
use crate::sys::child::{ForkedProcess, fork_connected};

/// The longest time that the copy may take for an answer, which it has within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// The index of the loopback device in every namespace.
const LOOPBACK: i32 = 1;
/// The loopback device's usual MTU.
const USUAL_MTU: u32 = 65536;
/// One that is too small for [`TrialDrop::Output`].
const SMALL_MTU: u32 = 576;

/// A copy of this process that makes drops in namespaces of its own.
pub struct DropMaker {
    /// Closed before the copy is waited for, which makes it end.
    stream: BufReader<UnixStream>,
    _copy: ForkedProcess,
}

impl DropMaker {
    /// Starts the copy. Must be called while this process has a single thread. Without CAP_SYS_ADMIN,
    /// CAP_NET_ADMIN or CAP_NET_RAW, the copy first makes a user namespace, where that is allowed.
    pub fn start() -> Result<Self> {
        let copy = fork_connected(|inside| {
            // Who reads the answers may be gone.
            let _ = serve(inside);
        });
        let (stream, copy) = copy.context("cannot start a process")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut maker = Self {
            stream: BufReader::new(stream),
            _copy: copy,
        };
        maker.answer()?;
        Ok(maker)
    }

    /// Makes one drop of each kind, in a new namespace.
    pub fn make_drops(&mut self, mark: &Mark) -> Result<()> {
        writeln!(self.stream.get_mut(), "{mark}")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<()> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        read.map_err(|error| described("the process that makes drops does not answer", &error))?;
        match line.strip_suffix('\n') {
            Some("") => Ok(()),
            Some(error) => Err(anyhow!("{error}")),
            None => Err(anyhow!("the process that makes drops has ended")),
        }
    }
}

/// Answers each line with an empty one, or with an error.
fn serve(stream: &UnixStream) -> io::Result<()> {
    let mut output = stream;
    answer(&mut output, &enter().map(drop))?;
    for line in BufReader::new(stream).lines() {
        answer(&mut output, &make_drops(&Mark::of(&line?)))?;
    }
    Ok(())
}

fn answer(output: &mut impl Write, result: &Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => writeln!(output),
        Err(error) => writeln!(output, "{error:#}"),
    }
}

/// Moves this process into a new network namespace, in which it has every right, and turns the loopback
/// device on.
fn enter() -> Result<NlSocketHandle> {
    let network = CloneFlags::CLONE_NEWNET;
    // The first error is the one that root has to know of.
    enter_new(network)
        .or_else(|error| enter_new(network | CloneFlags::CLONE_NEWUSER).map_err(|_| error))
}

fn enter_new(namespaces: CloneFlags) -> Result<NlSocketHandle> {
    unshare(namespaces)
        .map_err(|error| described("cannot make a network namespace", &error.into()))?;
    raw_socket().map_err(|error| described("cannot open a raw socket", &error))?;
    let link = NlSocketHandle::connect(NlFamily::Route, None, Groups::empty())?;
    set_loopback(&link, USUAL_MTU)?;
    Ok(link)
}

/// Makes one drop of each kind in a new namespace, which ends with its sockets.
fn make_drops(mark: &Mark) -> Result<()> {
    let link = enter()?;
    let cannot = |error| described("cannot make a drop", &error);
    let plain = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(cannot)?;
    for drop in TrialDrop::ALL {
        let payload = drop.payload(mark);
        match drop {
            TrialDrop::Output => too_large(&link, &plain, &payload)?,
            TrialDrop::NoListener => {
                let port = (Ipv4Addr::LOCALHOST, DISCARD);
                plain.send_to(&payload, port).map_err(cannot)?;
            }
            TrialDrop::BadChecksum => {
                send_raw(&TrialDrop::with_bad_checksum(&payload)).map_err(cannot)?;
            }
        }
    }
    Ok(())
}

/// Drops a packet behind the OUTPUT hook, before it has a link-layer header. It was made for a device that
/// takes it; when it is sent, the device takes only smaller ones, and it must not be fragmented. Unlike a
/// rule of the hook, this needs no module of the kernel.
fn too_large(link: &NlSocketHandle, socket: &UdpSocket, payload: &[u8]) -> Result<()> {
    let cannot = |error| described("cannot make a drop on output", &error);
    sys::forbid_fragments(socket.as_fd()).map_err(cannot)?;
    sys::cork(socket.as_fd(), true).map_err(cannot)?;
    let port = (Ipv4Addr::LOCALHOST, DISCARD);
    socket.send_to(payload, port).map_err(cannot)?;
    set_loopback(link, SMALL_MTU)?;
    sys::cork(socket.as_fd(), false).map_err(cannot)
}

/// Sends a packet with its IP header.
fn send_raw(packet: &[u8]) -> io::Result<()> {
    let raw = raw_socket()?;
    let address = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    sendto(raw.as_raw_fd(), packet, &address, MsgFlags::empty())?;
    Ok(())
}

fn raw_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let raw = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Raw)?;
    Ok(raw)
}

/// Turns the loopback device on and sets its MTU.
fn set_loopback(link: &NlSocketHandle, mtu: u32) -> Result<()> {
    let mtu = RtattrBuilder::default()
        .rta_type(Ifla::Mtu)
        .rta_payload(mtu)
        .build()?;
    let device = IfinfomsgBuilder::default()
        .ifi_family(RtAddrFamily::Unspecified)
        .ifi_index(LOOPBACK)
        .up()
        .rtattrs(RtBuffer::from_iter([mtu]))
        .build()?;
    let message: Nlmsghdr<Rtm, Ifinfomsg> = NlmsghdrBuilder::default()
        .nl_type(Rtm::Newlink)
        .nl_flags(NlmF::REQUEST | NlmF::ACK)
        .nl_payload(NlPayload::Payload(device))
        .build()?;
    link.send(&message)?;
    let (answers, _) = link.recv::<Rtm, Ifinfomsg>()?;
    for answer in answers {
        if let NlPayload::Err(error) = answer?.nl_payload() {
            let error = io::Error::from_raw_os_error(-*error.error());
            return Err(described("cannot turn the loopback device on", &error));
        }
    }
    Ok(())
}

/// Joins an action that failed and the system's words.
fn described(action: &'static str, error: &io::Error) -> anyhow::Error {
    anyhow!("{action}: {}", crate::errno::describe(error))
}
