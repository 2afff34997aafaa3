//! Writes the counts of call stacks as tools for flame graphs take them (flamegraph.pl, inferno): a line for each
//! stack, with its functions, the outermost first, and the number of drops.

use std::io::{self, Write};

use crate::record::Escaped;
use crate::summary::{GroupKey, GroupOrder, GroupedCounts};

/// Writes a line for each stack, the most frequent first. What has no stack is a line of its own, so that the sum is
/// that of all drops.
pub fn write_folded(writer: &mut impl Write, counts: &GroupedCounts) -> io::Result<()> {
    for (key, row) in counts.groups(GroupOrder::Total) {
        match key {
            GroupKey::Stack(functions) => writeln!(writer, "{} {}", Escaped(functions), row.total)?,
            key => writeln!(writer, "[{key}] {}", row.total)?,
        }
    }
    match counts.others().total {
        0 => Ok(()),
        others => writeln!(writer, "[other stacks] {others}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Cause, DropRecord, Link, LinkType, Location, Stack};
    use crate::summary::{Counted, Grouping};

    #[test]
    fn a_line_is_a_stack_from_the_outermost_function_on_and_a_number() {
        let mut counts = GroupedCounts::new(Grouping::Stack);
        let mut count = |stack: &str, times| {
            let location = Location {
                stack: Stack::new(stack.as_bytes()),
                ..Location::default()
            };
            let cause = Cause::Software {
                location,
                reason: None,
            };
            let record = DropRecord {
                cause,
                ..DropRecord::new(Link::known(LinkType::RAW), &[0])
            };
            (0..times).for_each(|_| counts.count(&Counted::Packet(&record)));
        };
        count("gre_rcv+0x1a2/0x2d0 [gre];ip_rcv+0x1/0x2", 2);
        // Of another place in the same functions.
        count("gre_rcv+0x1/0x2d0 [gre];ip_rcv+0x2/0x2", 1);
        count("a\x1b[m+0x1/0x2;0xffffffff81000010", 2);
        count("", 1);
        let mut text = Vec::new();
        write_folded(&mut text, &counts).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "ip_rcv;gre_rcv 3\n0xffffffff81000010;a\\x1b[m 2\n[no call stack] 1\n"
        );
    }
}
