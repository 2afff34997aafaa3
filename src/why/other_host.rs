//! Frames for the link-layer address of another machine.

use std::fmt::Write;

use super::underlay::hardware;
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::host::HostState;
use crate::host::link::NetworkLinks;
use crate::record::LinkType;

/// The name of the cause.
const OTHER_HOST: &str = "for_another_mac";

/// The length of a link-layer address.
const ADDRESS_LEN: usize = 6;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Frames for other machines",
    drops: &["OTHERHOST"],
    concerns,
    judge,
    causes: &[CauseText {
        id: OTHER_HOST,
        title: "The frame is for another machine",
        evidence: "The frame's destination address and that of the interface that it came in by. Certain where they \
                   differ.",
        cure: "The sender has a wrong neighbour entry. In promiscuous mode, or where a switch floods, such frames \
               come without anything being wrong.",
    }],
};

fn concerns(case: &DropCase) -> bool {
    case.has_reason("OTHERHOST") && LinkType(case.link) == LinkType::ETHERNET
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let interface = case.input_interface()?;
    let destination = case.data.get(..ADDRESS_LEN)?;
    let sender = case.data.get(ADDRESS_LEN..2 * ADDRESS_LEN)?;
    let links = host.ask(&NetworkLinks).ok()?;
    let link = links.iter().find(|link| link.name == interface)?;
    if link.address == destination {
        return None;
    }
    let (destination, sender) = (hardware(destination), hardware(sender));
    let own = hardware(&link.address);
    let finding = CauseFinding::new(
        OTHER_HOST,
        Grade::Certain,
        format!("the frame is for {destination}, and {interface} is {own}"),
    )
    .object(format!("destination {destination} on {interface}"))
    .seen("the frame", format!("{sender} > {destination}"))
    .seen(
        format!("ip link show {interface}"),
        format!("link/ether {own}"),
    );
    let finding = if link.is_promiscuous {
        finding.seen(
            format!("ip -d link show {interface}"),
            "promiscuity is not 0",
        )
    } else {
        finding
    };
    let mut advice =
        format!("if it was meant for this host: correct the neighbour entry of {sender}");
    if let Some(address) = case.destination().filter(|_| is_plain(&own)) {
        let _ = write!(advice, " for {address} to {own}");
    }
    Some(finding.advise(advice))
}
