//! Chooses the sources of a run: which are opened, in which order, and what takes the place of one that
//! is refused.

use super::super::begin::{MonitoredPart, Purpose, refused};
use super::super::beginning::{Beginning, SoftwareSource, Started, WhyEbpf};
use super::super::failure::{Failure, NoSource, chain};
use super::super::selection;
use crate::cli::{Live, Role, SourceChoice, Summary};
use crate::ebpf::program::{DropSelection, USUAL_STACK_FRAMES};
use crate::ebpf::tracer::TracerError;
use crate::filter::Filter;
use crate::net_dm::control::{Operation, Origins};
use crate::net_dm::monitoring::BeginError;
use crate::record::Fact;

/// The needs of a run, as far as they decide its sources.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// The reports.
    pub purpose: Purpose,
    /// A word of the filter or an option that only eBPF can serve.
    pub ebpf_for: Option<&'static str>,
    /// A word of the filter that matches more drops with eBPF, and some without.
    pub better_with_ebpf: Option<&'static str>,
}

impl Needs {
    /// Returns the needs of a count.
    pub fn of_summary(command: &Summary, live: &Live, filter: &Filter) -> Self {
        Self {
            purpose: Purpose::of_summary(command, live, filter),
            ebpf_for: selection::word_of_ebpf(filter).or(command.grouping.word_of_ebpf()),
            better_with_ebpf: selection::word_better_with_ebpf(filter),
        }
    }

    /// Returns the frames of each drop's call stack. A filter that asks for a stack needs them, too.
    pub fn stack_frames(self, live: &Live) -> Option<u8> {
        let is_asked = self.ebpf_for == Some(Fact::Stack.about().key);
        live.stack.or(is_asked.then_some(USUAL_STACK_FRAMES))
    }
}

/// The sources as they can be opened: those of the kernel, or a script.
pub trait Openers {
    /// Monitoring under way.
    type NetDm;
    /// Programs that are attached.
    type Ebpf;

    /// Starts the drop monitor, or joins somebody else's monitoring.
    fn net_dm(&mut self, part: MonitoredPart) -> Result<(Self::NetDm, Beginning), BeginError>;

    /// Attaches eBPF programs.
    fn ebpf(&mut self, selection: DropSelection) -> Result<Self::Ebpf, TracerError>;
}

/// The sources that were opened.
#[derive(Debug)]
pub struct Chosen<N, E> {
    /// The drop monitor.
    pub net_dm: Option<N>,
    /// The eBPF programs.
    pub ebpf: Option<E>,
    /// The way in which the run began.
    pub beginning: Beginning,
    /// The cause for which hardware drops, which nobody asked for by name, do not arrive.
    pub no_hardware: Option<String>,
}

/// The sources that are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// The drop monitor.
    NetDm {
        /// With eBPF for the drops that it skips. It skips none when it counts.
        with_ebpf: bool,
        /// eBPF takes its place where it cannot be used.
        or_ebpf: bool,
    },
    /// eBPF for all software drops, and the drop monitor for hardware drops.
    Ebpf,
}

/// Returns whether a run is impossible without the drop monitor.
pub fn requires_net_dm(live: &Live) -> bool {
    live.source == SourceChoice::NetDm
        || live.net_dm_option.is_some()
        || live.origins == Some(Origins::Hardware)
}

/// Returns whether eBPF programs are to be attached when the drop monitor is switched from counts to packets.
pub fn may_add_ebpf<N, E>(live: &Live, needs: Needs, chosen: &Chosen<N, E>) -> bool {
    let is_alone = chosen.net_dm.is_some() && chosen.ebpf.is_none();
    is_alone
        && needs.purpose == Purpose::Counts
        && live.source == SourceChoice::Auto
        && live.role != Role::Passive
        && live.origins != Some(Origins::Hardware)
}

impl Route {
    fn of(live: &Live, needs: Needs) -> Result<Self, Failure> {
        if let Some(word) = needs.ebpf_for
            && requires_net_dm(live)
        {
            let option = match (live.source, live.net_dm_option) {
                (SourceChoice::NetDm, _) => "--source netdm",
                (_, Some(option)) => option,
                (_, None) => "-o hw",
            };
            return Err(Failure::usage(
                anyhow::anyhow!("{word} cannot be used with {option}"),
                Some(format!(
                    "the drop monitor does not know it: leave {option} out"
                )),
            ));
        }
        let is_alone = live.source == SourceChoice::NetDm
            || live.role == Role::Passive
            || live.origins == Some(Origins::Hardware);
        let is_ebpf = live.source == SourceChoice::Ebpf || needs.ebpf_for.is_some();
        Ok(if is_ebpf && !is_alone {
            Self::Ebpf
        } else {
            Self::NetDm {
                with_ebpf: !is_alone && needs.purpose != Purpose::Counts,
                or_ebpf: !requires_net_dm(live),
            }
        })
    }
}

/// Opens the sources of a run.
pub fn open<O: Openers>(
    live: &Live,
    needs: Needs,
    openers: &mut O,
) -> Result<Chosen<O::NetDm, O::Ebpf>, Failure> {
    let needs = Needs {
        ebpf_for: needs.ebpf_for.or(live.stack.map(|_| "--stack")),
        ..needs
    };
    let route = Route::of(live, needs)?;
    if let (Route::NetDm { or_ebpf: true, .. }, Some(word)) = (route, needs.better_with_ebpf)
        && let Ok(ebpf) = openers.ebpf(DropSelection::All)
    {
        return Ok(with_hardware(live, WhyEbpf::Needed(word), ebpf, openers));
    }
    match route {
        Route::Ebpf => {
            let why = needs.ebpf_for.map_or(WhyEbpf::Chosen, WhyEbpf::Needed);
            let ebpf = openers.ebpf(DropSelection::All)?;
            Ok(with_hardware(live, why, ebpf, openers))
        }
        Route::NetDm { with_ebpf, or_ebpf } => match openers.net_dm(MonitoredPart::AsAsked) {
            Ok(begun) => Ok(beside(begun, with_ebpf, openers)),
            Err(error) if or_ebpf => instead(error, openers),
            Err(error) => Err(refused(error, needs.purpose)),
        },
    }
}

/// Attaches eBPF programs beside the drop monitor, for the drops that it skips.
fn beside<O: Openers>(
    (net_dm, mut beginning): (O::NetDm, Beginning),
    with_ebpf: bool,
    openers: &mut O,
) -> Chosen<O::NetDm, O::Ebpf> {
    let mut ebpf = None;
    if let (true, Beginning::Started(started)) = (with_ebpf, &mut beginning) {
        started.software = match openers.ebpf(DropSelection::WithoutMacHeader) {
            Ok(opened) => {
                ebpf = Some(opened);
                SoftwareSource::Both
            }
            Err(error) => SoftwareSource::WithoutEbpf(chain(&error)),
        };
    }
    Chosen {
        net_dm: Some(net_dm),
        ebpf,
        beginning,
        no_hardware: None,
    }
}

/// Captures with eBPF because the drop monitor cannot be used.
fn instead<O: Openers>(
    net_dm: BeginError,
    openers: &mut O,
) -> Result<Chosen<O::NetDm, O::Ebpf>, Failure> {
    let why = WhyEbpf::Instead(cause(&net_dm));
    match openers.ebpf(DropSelection::All) {
        Ok(ebpf) => Ok(Chosen {
            net_dm: None,
            ebpf: Some(ebpf),
            beginning: started(Origins::Software, why),
            no_hardware: None,
        }),
        Err(ebpf) => Err(NoSource { net_dm, ebpf }.into()),
    }
}

/// Starts the drop monitor beside eBPF, for hardware drops, where it is there and idle.
fn with_hardware<O: Openers>(
    live: &Live,
    why: WhyEbpf,
    ebpf: O::Ebpf,
    openers: &mut O,
) -> Chosen<O::NetDm, O::Ebpf> {
    let monitored =
        (live.origins != Some(Origins::Software)).then(|| openers.net_dm(MonitoredPart::Hardware));
    let (net_dm, no_hardware) = match monitored {
        None => (None, None),
        Some(Ok((net_dm, _))) => (Some(net_dm), None),
        Some(Err(error)) => (None, Some(cause(&error))),
    };
    let origins = match net_dm {
        Some(_) => Origins::Both,
        None => Origins::Software,
    };
    Chosen {
        net_dm,
        ebpf: Some(ebpf),
        beginning: started(origins, why),
        no_hardware,
    }
}

fn started(origins: Origins, why: WhyEbpf) -> Beginning {
    Beginning::Started(Started {
        origins,
        software: SoftwareSource::Ebpf(why),
        without_hardware: false,
    })
}

/// Returns the cause for which the drop monitor cannot be used, in a few words.
fn cause(error: &BeginError) -> String {
    match error {
        BeginError::Control(error)
            if error.operation == Operation::Resolve && error.refusal.errno == libc::ENOENT =>
        {
            "there is no drop monitor here".into()
        }
        _ => chain(error),
    }
}

#[cfg(test)]
mod tests;
