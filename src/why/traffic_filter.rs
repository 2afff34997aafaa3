//! Filters of traffic control, and programs at tcx, that drop where packets come in or go out.

use super::classic_bpf::{ClassicResult, run};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::host::HostState;
use crate::host::bpf::AttachedProgram;
use crate::host::traffic_filter::{FilterHook, TcxPrograms, TrafficFilter, TrafficFilters};

/// The name of the cause.
const FILTER: &str = "traffic_filter";

/// The reasons of such drops.
const REASONS: [&str; 2] = ["TC_INGRESS", "TC_EGRESS"];

/// Filters for any protocol (`ETH_P_ALL`).
const ALL_PROTOCOLS: u16 = 3;
/// `TC_ACT_SHOT`
const SHOT: u32 = 2;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Filters of traffic control",
    drops: &REASONS,
    concerns: |case| REASONS.iter().any(|reason| case.has_reason(reason)),
    judge,
    causes: &[CauseText {
        id: FILTER,
        title: "A filter of traffic control, or a program at tcx, drops the packet",
        evidence: "The filters at ingress or egress of the device (tc -s filter show dev DEVICE ingress), with what \
                   their actions have dropped, and the programs at tcx. A filter whose actions have dropped nothing \
                   is innocent; so is one for another protocol, a u32 filter whose words differ, and a classic BPF \
                   program that lets the packet pass. Certain where one filter is left; likely where several are, and \
                   one of them matches.",
        cure: "The filter is deleted, or changed by whoever added it.",
    }],
};

/// The treatment of the packet by a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilterVerdict {
    /// It drops it.
    Drops,
    /// It does not.
    Passes,
    /// That cannot be told.
    Undecided,
}

/// Something that may have dropped the packet.
enum Culprit<'a> {
    Filter(&'a TrafficFilter),
    Program(&'a AttachedProgram),
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let hook = if case.has_reason("TC_INGRESS") {
        FilterHook::Ingress
    } else {
        FilterHook::Egress
    };
    let device = case.device.as_deref()?;
    let filters = host.ask(&TrafficFilters(device.to_owned(), hook)).ok()?;
    let programs = host.ask(&TcxPrograms(device.to_owned(), hook));
    let decided: Vec<_> = filters
        .iter()
        .map(|filter| (filter, verdict(filter, case)))
        .collect();
    // What comes behind a filter that always drops is not asked.
    let is_final = |(filter, verdict): &(&TrafficFilter, FilterVerdict)| {
        *verdict == FilterVerdict::Drops && filter.actions.iter().all(|kind| kind == "gact")
    };
    let is_one_chain = filters.iter().all(|filter| filter.chain == 0);
    let end = decided.iter().position(is_final).filter(|_| is_one_chain);
    let asked = &decided[..end.map_or(decided.len(), |end| end + 1)];
    let matching = |wanted: FilterVerdict| {
        let fitting = asked.iter().filter(move |(_, verdict)| *verdict == wanted);
        fitting.map(|&(filter, _)| Culprit::Filter(filter))
    };
    let unknown = programs.as_deref().unwrap_or_default();
    let unknown = unknown.iter().map(Culprit::Program);
    let unknown = unknown.chain(matching(FilterVerdict::Undecided));
    let mut possible = matching(FilterVerdict::Drops).chain(unknown);
    let guilty = possible.next()?;
    let others: Vec<_> = possible.map(|other| other.name(device)).collect();
    let is_alone = others.is_empty() && programs.is_ok();
    let mut known = matching(FilterVerdict::Drops);
    let is_known = known.next().is_some() && known.next().is_none();
    let place = format!("{} of {device}", hook.word());
    if !is_alone && !is_known {
        return Some(one_of_several(&guilty, &others, device, &place));
    }
    let grade = if is_alone {
        Grade::Certain
    } else {
        Grade::Likely
    };
    let claim = format!("the {} at the {place} drops", guilty.name(device));
    let mut finding = CauseFinding::new(FILTER, grade, claim)
        .object(format!(
            "{} at {} of {device}",
            guilty.object(),
            hook.word()
        ))
        .seen(
            "the drop",
            format!("the reason {}", case.reason.as_deref().unwrap_or_default()),
        );
    finding = match &guilty {
        Culprit::Filter(filter) => finding.seen(
            format!("tc -s filter show dev {device} {}", hook.word()),
            filter.facts(),
        ),
        Culprit::Program(program) => finding.seen("bpftool net", program.text()),
    };
    if let Culprit::Filter(filter) = &guilty
        && is_plain(device)
        && is_plain(&filter.kind)
    {
        finding = finding.cure(deletion(filter, device, hook));
    } else {
        finding = finding.advise("have whoever attached it detach it, or fix it");
    }
    Some(match (is_alone, programs) {
        (true, _) => finding,
        (false, Err(unseen)) => finding.proof(format!("the programs at tcx: {unseen}")),
        (false, Ok(_)) => finding.proof(format!(
            "what {} would have done with the packet",
            others.join(", ")
        )),
    })
}

/// Names nobody where any of several can have dropped the packet.
fn one_of_several(
    guilty: &Culprit<'_>,
    others: &[String],
    device: &str,
    place: &str,
) -> CauseFinding {
    let mut names = vec![guilty.name(device)];
    names.extend_from_slice(others);
    CauseFinding::new(
        FILTER,
        Grade::Likely,
        format!("a filter at the {place} drops"),
    )
    .object(format!("one of the filters at {place}"))
    .seen("tc -s filter show, bpftool net", names.join(", "))
    .proof("which of them lets this packet pass")
    .advise("take one after the other away, until the drops end")
}

/// Returns what a filter does with the packet, as far as its options and its counts tell.
fn verdict(filter: &TrafficFilter, case: &DropCase) -> FilterVerdict {
    let is_for_it = filter.protocol == ALL_PROTOCOLS
        || case
            .protocol
            .is_none_or(|protocol| protocol == filter.protocol);
    let counts = (filter.is_direct, filter.drops);
    let may_drop = match counts {
        (true, _) => true,
        (false, Some(drops)) => drops > 0,
        // A class alone is chosen, and nothing dropped.
        (false, None) => !filter.actions.is_empty(),
    };
    if !is_for_it || !may_drop {
        return FilterVerdict::Passes;
    }
    match filter.kind.as_str() {
        "matchall" => FilterVerdict::Drops,
        "u32" => by_words(filter, case),
        "bpf" if !filter.code.is_empty() => match run(&filter.code, &case.data, case.length) {
            ClassicResult::Undecided => FilterVerdict::Undecided,
            ClassicResult::Returned(SHOT) if filter.is_direct => FilterVerdict::Drops,
            ClassicResult::Returned(0) => FilterVerdict::Passes,
            ClassicResult::Returned(_) if filter.is_direct => FilterVerdict::Passes,
            ClassicResult::Returned(_) => FilterVerdict::Drops,
        },
        _ => FilterVerdict::Undecided,
    }
}

fn by_words(filter: &TrafficFilter, case: &DropCase) -> FilterVerdict {
    let (Some(words), Some(ip)) = (&filter.words, case.ip()) else {
        return FilterVerdict::Undecided;
    };
    let mut is_decided = true;
    for word in words {
        let bytes = usize::try_from(word.offset).ok();
        let bytes = bytes.and_then(|offset| ip.bytes.get(offset..)?.first_chunk());
        match bytes {
            Some(&bytes) if (u32::from_be_bytes(bytes) ^ word.value) & word.mask != 0 => {
                return FilterVerdict::Passes;
            }
            Some(_) => {}
            None => is_decided = false,
        }
    }
    if is_decided {
        FilterVerdict::Drops
    } else {
        FilterVerdict::Undecided
    }
}

/// Returns the command that deletes this filter, and no other of the same preference.
fn deletion(filter: &TrafficFilter, device: &str, hook: FilterHook) -> String {
    let chain = match filter.chain {
        0 => String::new(),
        chain => format!(" chain {chain}"),
    };
    let protocol = match filter.protocol {
        ALL_PROTOCOLS => "all".to_owned(),
        0x0800 => "ip".to_owned(),
        0x86dd => "ipv6".to_owned(),
        0x0806 => "arp".to_owned(),
        other => other.to_string(),
    };
    format!(
        "tc filter del dev {device} {}{chain} protocol {protocol} pref {} handle {} {}",
        hook.word(),
        filter.preference,
        filter.handle_text(),
        filter.kind
    )
}

impl Culprit<'_> {
    fn name(&self, device: &str) -> String {
        match self {
            Self::Filter(filter) => format!("tc filter {}", filter.title()),
            Self::Program(program) => format!("{} at tcx of {device}", program.text()),
        }
    }

    fn object(&self) -> String {
        match self {
            Self::Filter(filter) => format!("tc filter {}", filter.title()),
            Self::Program(program) => format!("tcx {}", program.text()),
        }
    }
}

impl TrafficFilter {
    fn title(&self) -> String {
        let program = self.program.as_ref();
        let program = program.map_or_else(String::new, |program| format!(" ({})", program.text()));
        format!(
            "pref {} {} handle {}{program}",
            self.preference,
            self.kind,
            self.handle_text()
        )
    }

    /// Returns the handle as tc(8) writes it: that of `u32` is three numbers in one.
    fn handle_text(&self) -> String {
        if self.kind != "u32" {
            return format!("{:#x}", self.handle);
        }
        let (table, bucket, node) = (
            self.handle >> 20,
            self.handle >> 12 & 0xff,
            self.handle & 0xfff,
        );
        match bucket {
            0 => format!("{table:x}::{node:x}"),
            bucket => format!("{table:x}:{bucket:x}:{node:x}"),
        }
    }

    fn facts(&self) -> String {
        let actions = match self.actions.as_slice() {
            [] if self.is_direct => "direct-action".to_owned(),
            [] => "no action".to_owned(),
            actions => format!("action {}", actions.join(", ")),
        };
        let drops = self
            .drops
            .map_or_else(String::new, |drops| format!(", dropped {drops}"));
        format!("{}, {actions}{drops}", self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::inet_socket::PortProtocol;
    use crate::host::traffic_filter::ComparedWord;
    use crate::why::recorded::{RecordedHost, drop_of};

    fn filter(preference: u16, kind: &str, drops: Option<u32>) -> TrafficFilter {
        TrafficFilter {
            kind: kind.into(),
            preference,
            protocol: 0x0800,
            handle: if kind == "u32" { 0x8000_0800 } else { 1 },
            actions: drops.iter().map(|_| "gact".to_owned()).collect(),
            drops,
            ..TrafficFilter::default()
        }
    }

    /// A u32 filter that compares the destination port.
    fn by_port(preference: u16, port: u32) -> TrafficFilter {
        let word = ComparedWord {
            offset: 20,
            mask: 0xffff,
            value: port,
        };
        TrafficFilter {
            words: Some(vec![word]),
            ..filter(preference, "u32", Some(1))
        }
    }

    fn program(preference: u16) -> TrafficFilter {
        TrafficFilter {
            is_direct: true,
            ..filter(preference, "bpf", None)
        }
    }

    #[track_caller]
    fn check(filters: &[TrafficFilter], tcx: &[AttachedProgram], expected: Option<(Grade, &str)>) {
        let case = drop_of(PortProtocol::Udp, 0, "TC_INGRESS", "sch_handle_ingress");
        let (device, hook) = ("in0".to_owned(), FilterHook::Ingress);
        let host = RecordedHost::default()
            .answer(&TrafficFilters(device.clone(), hook), &filters.to_vec())
            .answer(&TcxPrograms(device, hook), &tcx.to_vec());
        assert!((FAMILY.concerns)(&case));
        let finding = judge(&case, &host.state());
        let found = finding
            .as_ref()
            .map(|found| (found.grade, found.object.as_deref().unwrap_or_default()));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_filter_that_counted_drops_is_named() {
        let filters = [
            filter(4, "flower", Some(0)),
            filter(5, "flower", Some(3)),
            filter(6, "flower", Some(0)),
        ];
        let object = "tc filter pref 5 flower handle 0x1 at ingress of in0";
        check(&filters, &[], Some((Grade::Certain, object)));
        check(&filters[..1], &[], None);
    }

    #[test]
    fn the_words_of_the_packet_decide() {
        let filters = [by_port(4, 7001), by_port(5, 7000), by_port(6, 7002)];
        let object = "tc filter pref 5 u32 handle 800::800 at ingress of in0";
        check(&filters, &[], Some((Grade::Certain, object)));
        let other = TrafficFilter {
            protocol: 0x86dd,
            ..by_port(1, 7000)
        };
        check(&[other], &[], None);
    }

    #[test]
    fn a_program_that_may_have_dropped_makes_it_likely() {
        let object = "tc filter pref 5 u32 handle 800::800 at ingress of in0";
        check(
            &[program(4), by_port(5, 7000)],
            &[],
            Some((Grade::Likely, object)),
        );
        let alone = "tc filter pref 4 bpf handle 0x1 at ingress of in0";
        check(
            &[program(4), by_port(5, 7001)],
            &[],
            Some((Grade::Certain, alone)),
        );
        let several = "one of the filters at ingress of in0";
        check(
            &[program(4), program(5)],
            &[],
            Some((Grade::Likely, several)),
        );
        let tcx = AttachedProgram {
            id: 7,
            name: "deny".into(),
            cgroup: None,
            mode: None,
        };
        let object = "tcx BPF program deny (id 7) at ingress of in0";
        check(
            &[by_port(5, 7001)],
            std::slice::from_ref(&tcx),
            Some((Grade::Certain, object)),
        );
    }

    #[test]
    fn a_classic_program_is_run_on_the_packet() {
        let classic = |preference, port| TrafficFilter {
            code: vec![
                (0x28, 0, 0, 36),
                (0x15, 0, 1, port),
                (6, 0, 0, 2),
                (6, 0, 0, u32::MAX),
            ],
            ..program(preference)
        };
        let filters = [classic(4, 7001), classic(5, 7000), classic(6, 7002)];
        let object = "tc filter pref 5 bpf handle 0x1 at ingress of in0";
        check(&filters, &[], Some((Grade::Certain, object)));
    }

    #[test]
    fn the_remedy_deletes_this_filter_alone() {
        let command = |filter: &TrafficFilter| deletion(filter, "in0", FilterHook::Egress);
        let expected = "tc filter del dev in0 egress protocol ip pref 5 handle 800::800 u32";
        assert_eq!(command(&by_port(5, 7000)), expected);
        let other = TrafficFilter {
            protocol: ALL_PROTOCOLS,
            chain: 3,
            ..filter(6, "matchall", None)
        };
        let expected =
            "tc filter del dev in0 egress chain 3 protocol all pref 6 handle 0x1 matchall";
        assert_eq!(command(&other), expected);
    }
}
