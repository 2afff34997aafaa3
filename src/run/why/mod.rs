//! Finds out why packets are dropped: for each new kind of drop, a process looks at the host, and what it finds
//! is printed as a block below the packet's line, and written into the capture file of `-w`.

mod causes;
mod commented_file;
mod counters;
mod file;
mod looker;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::thread::CapabilitySet;

use super::begin::Purpose;
use super::beginning::Beginning;
use super::capture::capture_host;
use super::confinement::{Attendance, Confiner, tell_refusals};
use super::diagnostics::{hint, note, say, standard_error};
use super::failure::{Exit, Failure};
use super::left_out::tell_left_out;
use super::live::{Needs, Opening, ReceiverNeeds};
use super::output::{PacketFile, Plan, text_style};
use super::pipeline::{output_failed, report_loss};
use super::plural::Plural;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::selection::{self, Selected};
use super::standard_streams::{pipe, standard_output, stdout_is_terminal, watch_pipe};
use crate::cli::{Delivery, Diagnosis, FilterText, Lines, Live, Subject};
use crate::ebpf::program::USUAL_STACK_FRAMES;
use crate::filter::Filter;
use crate::record::{Cause, DropRecord, Loss, Timestamp};
use crate::rights;
use crate::sandbox::Work;
use crate::sink::why::{BlockForm, CauseBlock, write_summary};
use crate::sink::{Ending, Rejected};
use crate::source::Event;
use causes::{DropKinds, MAX_KINDS, is_route_query};
use commented_file::CommentedFile;
pub use file::CaptureOrigin;
pub use looker::{Looker, RunCounters};

/// The bytes of each packet that a diagnosis needs: of one with a wrong checksum, all.
const SNAPLEN: u32 = 2048;
/// The longest wait for the last answers when the run ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// The longest wait for answers when a report is asked for during the run.
const REPORT: Duration = Duration::from_secs(2);

/// Looks for causes until a signal or a limit ends the run, or the file ends.
pub fn why(command: &Diagnosis) -> Result<Exit, Failure> {
    let filter = selection::filter(&command.selection)?;
    // A copy of this process, which has a single thread until the signals are handled.
    let looker = Looker::start(RunCounters::Read, command.relinquishment.sandbox)?;
    match &command.subject {
        Subject::Live(live) => explain_live(command, live, filter, looker),
        Subject::File(input) => file::explain(command, input, filter, looker),
    }
}

fn explain_live(
    command: &Diagnosis,
    live: &Live,
    filter: Filter,
    looker: Looker,
) -> Result<Exit, Failure> {
    let live = Live {
        stack: live.stack.or(Some(USUAL_STACK_FRAMES)),
        ..*live
    };
    let confiner = Confiner::new(
        &command.relinquishment,
        Attendance::Unattended,
        live.detail,
        None,
    )?;
    let opening = Opening::new(&live, Some(&confiner))?;
    let plan = command.output.as_ref().map(packet_plan).transpose()?;
    let prepared = match &plan {
        None => None,
        Some(plan) => match plan.prepare(opening.requests())? {
            None => return Ok(Exit::Success),
            Some(prepared) => Some(prepared),
        },
    };
    let needs = Needs {
        // Of packets that are written, nothing is cut off.
        purpose: Purpose::Packets(if plan.is_some() { 0 } else { SNAPLEN }),
        ebpf_for: Some("--why"),
        better_with_ebpf: None,
    };
    let selected = Selected {
        filter,
        origins: live.origins,
    };
    let mut seeker = Seeker::new(command, selected, looker, CaptureOrigin::Live)?;
    let announce = |beginning: &_| announce(beginning, plan.as_ref());
    let mut session = opening.begin(&live, needs, None, announce)?;
    if let Some(name) = &command.selection.interface {
        selection::warn_of_unknown_interface(name);
    }
    tell_missing_rights(missing_rights());
    let host = capture_host();
    let mut work = plan.as_ref().map(Plan::work).unwrap_or_default();
    // The process that looks.
    work.push(Work::Waiting);
    session.confine(&confiner, ReceiverNeeds::OpenFiles(work))?;
    if let Some(prepared) = prepared {
        let output = prepared.open(&host, session.family, None)?;
        let file = output.file.and_then(PacketFile::single);
        seeker.file = file.map(CommentedFile::new);
    }
    let end = session.run(&mut seeker);
    let started = session.started;
    let finished = session.finish(end, &mut seeker, |seeker, loss, left_out, interference| {
        let finished = seeker.finish();
        let ended = seeker.end_file(&Ending {
            loss,
            rejected: Rejected::Counted(seeker.rejected),
            period: Some((started, Timestamp::now())),
            incomplete: interference.into_iter().map(Into::into).collect(),
        });
        report_loss(&mut standard_error(), loss);
        tell_left_out(left_out);
        finished?;
        ended
    });
    tell_refusals();
    finished.failure.map_or(Ok(finished.exit), Err)
}

/// Returns the plan of the capture file, which has to be one of pcapng: no other has comments.
fn packet_plan(delivery: &Delivery) -> Result<Plan, Failure> {
    let plan = Plan::new(delivery, false)?;
    plan.refuse_all_but_pcapng("--why")?;
    plan.refuse_compression()?;
    Ok(plan)
}

fn announce(beginning: &Beginning, plan: Option<&Plan>) {
    let Beginning::Started(started) = beginning else {
        return;
    };
    let what = format!("looking for the causes of {}", started.drops());
    let destination = plan.map_or_else(String::new, |plan| format!(", {}", plan.destination()));
    say(format_args!("{what}{destination}{}", started.remark()));
}

/// Has the process look at each new kind of drop, and prints what it finds.
struct Seeker {
    selected: Selected,
    /// Every drop is looked at, so that counters can be held against them.
    sees_all: bool,
    origin: CaptureOrigin,
    limit: Option<u64>,
    kept: u64,
    rejected: u64,
    causes: DropKinds,
    looker: Looker,
    form: BlockForm,
    writer: BufWriter<File>,
    /// The capture file of `-w`.
    file: Option<CommentedFile>,
    pipe: Option<OwnedFd>,
    /// Nobody reads what is written.
    is_closed: bool,
}

impl Seeker {
    fn new(
        command: &Diagnosis,
        selected: Selected,
        looker: Looker,
        origin: CaptureOrigin,
    ) -> Result<Self, Failure> {
        let stdout = standard_output()?;
        Ok(Self {
            sees_all: origin == CaptureOrigin::Live
                && selected.origins.is_none()
                && command.selection.interface.is_none()
                && matches!(&command.selection.filter, FilterText::Words(words) if words.is_empty()),
            selected,
            origin,
            limit: command.count,
            kept: 0,
            rejected: 0,
            causes: DropKinds::default(),
            looker,
            form: match command.lines {
                Lines::Json => BlockForm::Json,
                Lines::Auto | Lines::Text => BlockForm::Text {
                    style: text_style(command.text, stdout_is_terminal()),
                    width: terminal_width(),
                },
            },
            pipe: pipe(&stdout),
            writer: BufWriter::new(stdout),
            file: None,
            is_closed: false,
        })
    }

    fn take_record(&mut self, record: &DropRecord<'_>) -> ControlFlow<Stop> {
        // Of a packet in a file that says nothing about drops, there is nothing to explain.
        if record.cause == Cause::Unknown || !self.selected.keeps(record) || is_route_query(record)
        {
            self.rejected += 1;
            return ControlFlow::Continue(());
        }
        self.kept += 1;
        let case = self.causes.count(record);
        let is_looked_at = case.is_some();
        if let Some(mut case) = case {
            self.origin.adapt(&mut case);
            match CauseBlock::new(record, self.form) {
                Ok(block) => self.causes.keep_block(block),
                Err(error) => return ControlFlow::Break(output_failed("a block", error)),
            }
            if let Err(error) = self.looker.ask(case) {
                return ControlFlow::Break(looker_failed(error));
            }
        }
        let kind = self.causes.latest();
        self.with_file(|file| file.take(record, kind, is_looked_at))?;
        if self.limit == Some(self.kept) {
            return ControlFlow::Break(Stop::Count);
        }
        ControlFlow::Continue(())
    }

    /// Prints the findings that have come.
    fn take_answers(&mut self) -> ControlFlow<Stop> {
        let answers = match self.looker.answers() {
            Ok(answers) => answers,
            Err(error) => return ControlFlow::Break(looker_failed(error)),
        };
        for mut answer in answers {
            self.origin.weaken(&mut answer.finding);
            self.with_file(|file| file.found(answer.number, &answer.finding))?;
            if let Some((block, finding)) = self.causes.found(answer)
                && let Err(error) = block.write(&mut self.writer, finding)
            {
                return ControlFlow::Break(stdout_failed(error));
            }
        }
        self.flush_output()
    }

    /// Does something with the capture file, if there is one.
    fn with_file(
        &mut self,
        act: impl FnOnce(&mut CommentedFile) -> std::io::Result<()>,
    ) -> ControlFlow<Stop> {
        let Some(file) = &mut self.file else {
            return ControlFlow::Continue(());
        };
        match act(file) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(output_failed(file.name(), error)),
        }
    }

    /// Ends the capture file, if there is one.
    fn end_file(&mut self, ending: &Ending) -> ControlFlow<Stop> {
        self.with_file(|file| file.finish(ending))?;
        if let Some(file) = &self.file {
            let packets = Plural(file.written(), "packet");
            note(format_args!("{packets} written to {}", file.name()));
        }
        ControlFlow::Continue(())
    }

    fn flush_output(&mut self) -> ControlFlow<Stop> {
        match self.writer.flush() {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(stdout_failed(error)),
        }
    }

    /// Waits for the last answers, and prints the summary, even if the process that answers failed.
    fn finish(&mut self) -> ControlFlow<Stop> {
        if self.is_closed {
            return ControlFlow::Continue(());
        }
        let waited = self.wait_for_answers(LAST_ANSWERS);
        if let ControlFlow::Break(Stop::Closed) = waited {
            return waited;
        }
        let summary = self.summary("no answer came");
        // The first error is the cause of the others.
        waited?;
        summary
    }

    /// Waits for the answers so far, and for the counters.
    fn wait_for_answers(&mut self, patience: Duration) -> ControlFlow<Stop> {
        if self.sees_all
            && let Err(error) = self.looker.ask_counters()
        {
            return ControlFlow::Break(looker_failed(error));
        }
        let mut end = Instant::now() + patience;
        let mut pending = self.looker.pending();
        while self.looker.pending() > 0 {
            if self.origin != CaptureOrigin::Live && self.looker.pending() < pending {
                // All drops of a file come at once.
                pending = self.looker.pending();
                end = Instant::now() + patience;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut watched = [PollFd::new(self.looker.as_fd(), PollFlags::POLLIN)];
            if let Err(error) = poll(&mut watched, timeout)
                && error != nix::Error::EINTR
            {
                return ControlFlow::Break(looker_failed(error.into()));
            }
            self.take_answers()?;
        }
        ControlFlow::Continue(())
    }

    /// Prints the causes so far. Drops without one are told with the reason for that.
    fn summary(&mut self, without_answer: &str) -> ControlFlow<Stop> {
        let rows = self.causes.rows();
        let counters = if self.sees_all {
            self.causes.beyond_drops(self.looker.counters())
        } else {
            Vec::new()
        };
        if let Err(error) = write_summary(&mut self.writer, self.form, &rows, &counters) {
            return ControlFlow::Break(stdout_failed(error));
        }
        self.flush_output()?;
        let undecided = self.causes.undecided();
        if undecided > 0 {
            say(format_args!(
                "{} not looked at: {without_answer}",
                Plural(undecided, "drop")
            ));
        }
        let beyond = self.causes.beyond();
        if beyond > 0 {
            say(format_args!(
                "{} not looked at: there were more than {MAX_KINDS} kinds of drops",
                Plural(beyond, "drop")
            ));
            hint("a filter selects those of interest");
        }
        if self.kept == 0 {
            note("nothing was dropped");
        }
        ControlFlow::Continue(())
    }
}

/// Returns the columns of the terminal that standard output is, if it is one.
fn terminal_width() -> Option<usize> {
    let size = stdout_is_terminal().then(crossterm::terminal::size);
    let (columns, _) = size?.ok()?;
    (columns > 0).then_some(columns.into())
}

/// The rights to look at this host that this user lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MissingRights {
    /// Those that only this program's file has, and not its caller.
    OfCaller,
    /// Those of a capability, in words.
    Capability(&'static str),
}

/// Returns what this user may not look at, before this process gives up the rights that the other one has.
fn missing_rights() -> Option<MissingRights> {
    if rights::are_elevated() {
        return Some(MissingRights::OfCaller);
    }
    let sets = rustix::thread::capabilities(None).ok()?;
    let lacks = |capability| !sets.effective.contains(capability);
    let missing = match (
        lacks(CapabilitySet::SYS_ADMIN),
        lacks(CapabilitySet::SYS_PTRACE),
    ) {
        (true, _) => "CAP_SYS_ADMIN is missing: other network namespaces are not looked at",
        (false, true) => {
            "CAP_SYS_PTRACE is missing: network namespaces of other users' processes are not looked at"
        }
        (false, false) => return None,
    };
    Some(MissingRights::Capability(missing))
}

/// Tells what this user may not look at.
fn tell_missing_rights(missing: Option<MissingRights>) {
    match missing {
        None => {}
        Some(MissingRights::OfCaller) => {
            say("looking with the caller's own rights, without those of this program's file");
        }
        Some(MissingRights::Capability(missing)) => {
            say(missing);
            hint("run `sudo dwdump …`, which may look at all of them");
        }
    }
}

/// The end of a run that cannot write.
fn stdout_failed(error: std::io::Error) -> Stop {
    match output_failed("standard output", error) {
        // What it advises is for capture files.
        Stop::Failed(failure) => Stop::Failed(failure.without_hint()),
        stop => stop,
    }
}

fn looker_failed(error: std::io::Error) -> Stop {
    let error = anyhow::Error::new(error).context("the process that looks at this host failed");
    Stop::Failed(error.into())
}

impl Receiver for Seeker {
    fn take(&mut self, event: Event<'_, '_>) -> ControlFlow<Stop> {
        match event {
            Event::Drop(record) => self.take_record(record),
            _ => ControlFlow::Continue(()),
        }
    }

    fn flush(&mut self) -> ControlFlow<Stop> {
        self.take_answers()?;
        self.with_file(CommentedFile::flush)
    }

    fn watch<'r>(&'r self, descriptors: &mut Vec<PollFd<'r>>) {
        descriptors.push(PollFd::new(self.looker.as_fd(), PollFlags::POLLIN));
        watch_pipe(self.pipe.as_ref(), descriptors);
    }

    fn due(&self) -> Option<Instant> {
        self.file.as_ref()?.due()
    }

    fn attend(&mut self, why: Attention, _: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        match why {
            Attention::Watched(0) | Attention::Due | Attention::Wanted | Attention::Hangup => {
                self.flush()
            }
            Attention::Watched(_) => {
                self.is_closed = true;
                ControlFlow::Break(Stop::Closed)
            }
        }
    }

    fn report(&mut self, loss: Option<Loss>) {
        // What fails is told at the end of the run.
        let _ = self.wait_for_answers(REPORT);
        let _ = self.summary("the answer has not come yet");
        report_loss(&mut standard_error(), loss);
    }
}
