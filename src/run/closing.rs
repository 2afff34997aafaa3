//! Prints the lines at the end of a count.

use std::io::{self, Write};

use super::diagnostics::{hint, say, standard_error};
use super::event_filter::EventFilter;
use super::pipeline::report_loss;
use super::plural::Plural;
use crate::ebpf::counter::MAX_KEYS;
use crate::record::Loss;
use crate::sink::Detail;
use crate::sink::summary::{AtMostMore, OtherLocations, RowLocation};
use crate::summary::{GroupKey, GroupOrder, GroupedCounts, MAX_GROUPS};

/// The most rows of the totals.
const SHOWN: usize = 20;

/// The closing lines of a count, at the end of the run or on the way.
pub struct Closing<'a> {
    /// The counts.
    pub counts: &'a GroupedCounts,
    /// The selection, with the numbers of drops that were not counted.
    pub event_filter: &'a EventFilter,
    /// The rows with the most drops are shown, or left out.
    pub totals: Totals,
    /// The completeness of the counts of the last second.
    pub last_second: LastSecond,
}

/// The treatment of the rows with the most drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Totals {
    /// The rows are shown.
    Shown,
    /// The rows are left out, because they were shown already.
    LeftOut,
}

/// The completeness of the counts of the last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastSecond {
    /// The kernel counted, and discarded its last counts when this process stopped the monitoring.
    Discarded,
    /// Nothing was discarded.
    Counted,
}

impl Closing<'_> {
    /// Prints the lines.
    pub fn tell(&self, loss: Option<Loss>) {
        let Self {
            counts,
            event_filter,
            ..
        } = self;
        let mut lines = vec![format!("{} counted", Plural(counts.sum().total, "drop"))];
        if event_filter.rejected > 0 || !event_filter.selected.filter.keeps_all() {
            lines.push(format!(
                "{} rejected by the filter",
                Plural(event_filter.rejected, "drop")
            ));
        }
        let mut stderr = standard_error();
        for line in lines {
            let _ = writeln!(stderr, "{line}");
        }
        report_loss(&mut stderr, loss);
        if self.totals == Totals::Shown {
            let _ = write_totals(&mut stderr, counts);
        }
        drop(stderr);
        self.remark();
    }

    /// Explains the limits of the numbers.
    fn remark(&self) {
        let Self {
            counts,
            event_filter,
            ..
        } = self;
        if event_filter.full_alerts > 0 {
            say(format_args!(
                "{} could not name every location: drops at others may be missing",
                Plural(event_filter.full_alerts, "alert")
            ));
            hint("--by location counts packet by packet, and has no such limit");
        }
        let unnamed = counts.unnamed();
        if unnamed > 0 {
            say(format_args!(
                "{} {}: the kernel had no room for more than {MAX_KEYS} combinations of place, reason and interface",
                Plural(unnamed, "drop"),
                OtherLocations(counts.grouping()),
            ));
            hint("they may belong to the groups above; -t 256 counts packet by packet");
        }
        if event_filter.undecided > 0 {
            say(format_args!(
                "{} neither counted nor rejected: the kernel had no room for more than {MAX_KEYS} combinations of place, reason and interface",
                Plural(event_filter.undecided, "drop"),
            ));
            hint("-t 256 counts packet by packet");
        }
        let others = counts.others().total.saturating_sub(unnamed);
        if others > 0 {
            say(format_args!(
                "{} {}: only the {MAX_GROUPS} {} with the most drops are counted one by one",
                Plural(others, "drop"),
                OtherLocations(counts.grouping()),
                counts.grouping().plural()
            ));
        }
        let counter = GroupKey::Location {
            pc: Some(0),
            symbol: Box::default(),
        };
        if counts.group(&counter).is_some() {
            say(
                "rx_dropped counts how often a network device's own counter of dropped packets rose",
            );
            hint("`ip -s -s link` shows which device it was, `ethtool -S` why");
        }
        if self.last_second == LastSecond::Discarded {
            say("the kernel discarded its counts of the last second when monitoring stopped");
        }
    }
}

/// Writes the rows with the most drops over all intervals.
fn write_totals(writer: &mut impl Write, counts: &GroupedCounts) -> io::Result<()> {
    let rows = counts.groups(GroupOrder::Total);
    let width = rows
        .first()
        .map_or(0, |(_, row)| row.total.to_string().len());
    writeln!(writer, "in all:")?;
    for (key, row) in rows.iter().take(SHOWN) {
        let place = RowLocation {
            key,
            detail: Detail::Full,
        };
        let more = AtMostMore(row.error);
        writeln!(writer, "  {:>width$} {place}{more}", row.total)?;
    }
    let rest = rows.iter().skip(SHOWN).map(|(_, row)| row.total);
    let rest = rest.sum::<u64>() + counts.others().total;
    if rest > 0 {
        writeln!(
            writer,
            "  {rest:>width$} {}",
            OtherLocations(counts.grouping())
        )?;
    }
    Ok(())
}
