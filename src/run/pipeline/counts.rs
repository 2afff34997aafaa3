//! Counts records by the way they were treated, and has words for those that the output lacks.

use crate::record::LinkType;
use crate::sink::{Rejected, SNAPLEN, Written};

/// The numbers of records, by the way they were treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kept by the filter.
    pub captured: u64,
    /// Rejected by the filter.
    pub rejected: Rejected,
    /// Kept, but left out because the file's format cannot represent them.
    pub left_out: u64,
    /// Kept, but truncated.
    pub cut: u64,
    /// Kept, but without a time that the file's format can represent.
    pub without_time: u64,
}

impl Counts {
    /// Counts what became of a kept record in one output.
    pub fn add(&mut self, written: Written) {
        match written {
            Written::Yes => {}
            Written::Cut => self.cut += 1,
            Written::LeftOut => self.left_out += 1,
            Written::LacksTime => self.without_time += 1,
        }
    }
}

/// Returns lines about kept records that are missing in the output.
pub fn left_out_lines(counts: Counts, link: Option<LinkType>) -> Vec<String> {
    let mut lines = Vec::new();
    if counts.left_out > 0 {
        lines.push(match link {
            Some(link) => format!(
                "{} of them left out, because link type {link} cannot hold them",
                counts.left_out
            ),
            None => format!(
                "{} of them left out, because the kernel's message format cannot hold them",
                counts.left_out
            ),
        });
        lines.push(match link {
            Some(LinkType::LINUX_SLL2) | None => "hint: --format pcapng without --link-type holds every packet".into(),
            Some(_) => {
                "hint: --link-type sll2 holds Ethernet and raw IP, --format pcapng without --link-type everything"
                    .into()
            }
        });
    }
    if counts.without_time > 0 {
        lines.push(format!(
            "{} of them left out, because this format cannot hold their time",
            counts.without_time
        ));
        if counts.left_out == 0 {
            lines.push("hint: --format pcapng without --link-type holds every packet".into());
        }
    }
    if counts.cut > 0 {
        lines.push(format!(
            "{} of them cut to {SNAPLEN} bytes, the most that other programs read of a packet",
            counts.cut
        ));
    }
    lines
}
