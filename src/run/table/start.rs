//! Starts the live table for the running kernel or for a file.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::super::begin::Purpose;
use super::super::beginning::Beginning;
use super::super::capture::{boot_id, capture_host};
use super::super::confinement::{Attendance, Confiner, Remaining, tell_refusals};
use super::super::event_filter::EventFilter;
use super::super::failure::{Exit, Failure};
use super::super::folder::Folder;
use super::super::folder::apart::{Reach, open_apart};
use super::super::keyboard::{Keyboard, listen_to_terminal};
use super::super::left_out::tell_left_out;
use super::super::live::{Needs, Opening, ReceiverNeeds};
use super::super::offline::{self, CaptureInput, NoDropMonitor};
use super::super::output::text_style;
use super::super::receiver::{Attention, Receiver, Stop};
use super::super::screen::Screen;
use super::super::selection;
use super::super::signals::Requests;
use super::super::standard_streams::shown;
use super::super::wait::wait;
use super::super::why::{CaptureOrigin, Looker, RunCounters};
use super::look::RowLooker;
use super::{AfterReading, Clock, LiveTable, TableInput};
use crate::cli::{
    CaptureFile, Counting, Live, Relinquishment, Selection, Subject, Summary, Target,
};
use crate::filter::Filter;
use crate::net_dm::control::{AlertMode, Origins};
use crate::record::{CaptureHost, Timestamp};
use crate::sink::{self, TextStyle};
use crate::summary::Grouping;
use crate::table::{Appearance, ColorSupport, CountedBy, Glyphs, Pace, TableView};

/// The interval of rates unless the user chose another.
const INTERVAL: Duration = Duration::from_secs(1);

/// The input and the settings of a table.
struct TableStart<'a> {
    command: &'a Summary,
    filter: Filter,
    origin: TableInput,
    origins: Option<Origins>,
    subject: String,
    counted_by: CountedBy,
    host: CaptureHost,
    looker: Option<RowLooker>,
    folder: Rc<Folder>,
}

impl LiveTable {
    /// Takes the terminal and creates the table.
    fn enter(start: TableStart<'_>) -> Result<Self, Failure> {
        let TableStart {
            command, origin, ..
        } = start;
        let pace = Pace::Clock {
            last: Duration::ZERO,
            elapsed: Duration::ZERO,
        };
        let mut view = TableView::new(start.subject, start.counted_by, pace, appearance(command));
        view.grouping = command.grouping;
        view.counters.add(command.grouping);
        if matches!(&command.subject, Subject::Live(live) if live.stack.is_some()) {
            view.counters.add(Grouping::Stack);
        }
        view.filter = start.filter.to_string();
        let filter = match &command.selection.interface {
            Some(name) => {
                // A contradiction within the filter itself was reported when it was parsed.
                let was_possible = start.filter.contradiction().is_none();
                let filter = start.filter.on_interface(name);
                if was_possible {
                    selection::warn_of_contradiction(&filter);
                }
                filter
            }
            None => start.filter,
        };
        // From here on diagnostics are held. The thread that reads the keys prints none.
        let screen = Screen::enter()?;
        let mut table = Self {
            view,
            event_filter: EventFilter::new(filter, start.origins),
            screen: Some(screen),
            keyboard: Keyboard::listen()?,
            origin,
            clock: match origin {
                TableInput::File => None,
                TableInput::Kernel(_) | TableInput::Pipe => {
                    Some(Clock::new(command.interval.unwrap_or(INTERVAL)))
                }
            },
            interval: command.interval,
            interface: command.selection.interface.clone(),
            host: start.host,
            capture: None,
            folder: start.folder,
            looker: start.looker,
            limit: command.count,
            started: Timestamp::now(),
            is_stale: true,
            is_busy: false,
            drawn: Instant::now(),
            next: None,
            shown_diagnostics: 0,
        };
        table.view.reset(table.pace());
        Ok(table)
    }
}

/// Chooses how the table looks on this terminal.
fn appearance(command: &Summary) -> Appearance {
    let style = text_style(command.text, true);
    let color = match style.color {
        sink::Color::Always => ColorSupport::Yes,
        sink::Color::Never => ColorSupport::No,
    };
    // crossterm obeys NO_COLOR on its own, but --color has precedence.
    crossterm::style::force_color_output(color == ColorSupport::Yes);
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let locale = locale.to_string_lossy().to_lowercase();
    let is_unicode = locale.contains("utf-8") || locale.contains("utf8");
    Appearance {
        color,
        glyphs: if is_unicode {
            Glyphs::Unicode
        } else {
            Glyphs::Ascii
        },
        text: TextStyle {
            color: sink::Color::Never,
            detail: sink::Detail::Line,
            ..style
        },
    }
}

/// Returns the filter of the command line without `-i`: a key can change the filter, but not `-i`.
fn typed_filter(command: &Summary) -> Result<Filter, Failure> {
    selection::filter(&Selection {
        interface: None,
        filter: command.selection.filter.clone(),
    })
}

/// Starts the process that looks at the host. Must be called while this process has a single thread. Without it, the
/// table lacks causes alone.
fn start_looker(wanted: &Relinquishment) -> Option<Looker> {
    Looker::start(RunCounters::Unread, wanted.sandbox).ok()
}

/// Has a process create the files that keys name, once this one may not, and returns the folder that relative names
/// start from. Must be called while this process has a single thread, and before another process is started that is
/// waited for: this one keeps what is open, as the stream whose end the other waits for.
fn create_apart(confiner: &Confiner) -> Result<Rc<Folder>, Failure> {
    let folder = Folder::current().context("cannot open the current folder")?;
    open_apart(&folder, Reach::NewCaptures, confiner.has_sandbox())?;
    Ok(Rc::new(folder))
}

/// Returns the process where a file was captured on this host since it was booted: of another, it knows nothing.
fn of_this_boot(
    captured: &CaptureHost,
    boot_id: Option<&str>,
    looker: Option<Looker>,
) -> Option<RowLooker> {
    let is_this = CaptureOrigin::of_file(captured, boot_id) == CaptureOrigin::ThisBoot;
    looker.filter(|_| is_this).map(RowLooker::new)
}

/// Shows a table of what the kernel drops, until a key or a signal ends it.
pub fn show_live(
    command: &Summary,
    live: &Live,
    announce: impl FnOnce(&Beginning, Purpose),
) -> Result<Exit, Failure> {
    let filter = typed_filter(command)?;
    listen_to_terminal()?;
    let confiner = Confiner::new(
        &command.relinquishment,
        Attendance::Unattended,
        live.detail,
        None,
    )?;
    let folder = create_apart(&confiner)?;
    let looker = start_looker(&command.relinquishment);
    let needs = Needs::of_summary(command, live, &filter);
    let mut counted_by = match command.counting {
        Counting::Kernel => CountedBy::Kernel,
        Counting::Packets => CountedBy::Packets,
    };
    let mut subject = "drops".to_owned();
    let mut session =
        Opening::new(live, Some(&confiner))?.begin(live, needs, None, |beginning| {
            match beginning {
                Beginning::Started(started) => {
                    subject = format!("{} drops", started.origins);
                    if started.is_by_ebpf() {
                        counted_by = if needs.purpose.is_counted_by_ebpf(live) {
                            CountedBy::Programs
                        } else {
                            CountedBy::Packets
                        };
                    }
                }
                Beginning::Listening(settings) => {
                    subject = "drops of another program's monitoring".into();
                    counted_by = match settings.mode {
                        AlertMode::Summary => CountedBy::Kernel,
                        AlertMode::Packet | AlertMode::Other(_) => CountedBy::Packets,
                    };
                }
            }
            announce(beginning, needs.purpose);
        })?;
    if let Some(name) = &command.selection.interface {
        selection::warn_of_unknown_interface(name);
    }
    let host = capture_host();
    session.confine(&confiner, ReceiverNeeds::Table)?;
    // Declared after the session, so that a panic gives the terminal back first.
    let mut table = LiveTable::enter(TableStart {
        command,
        filter,
        origin: TableInput::Kernel(live.role),
        origins: live.origins,
        subject,
        counted_by,
        host,
        looker: looker.map(RowLooker::new),
        folder,
    })?;
    let end = session.run(&mut table);
    table.leave();
    let finished = session.finish(end, &mut table, |table, loss, findings, disturbance| {
        table.tell(loss, disturbance);
        tell_left_out(findings);
        ControlFlow::Continue(())
    });
    tell_refusals();
    finished.failure.map_or(Ok(finished.exit), Err)
}

/// Shows a table of what a file or a pipe contains, until a key or a signal ends it.
pub fn show_file(command: &Summary, file: &CaptureFile) -> Result<Exit, Failure> {
    let filter = typed_filter(command)?;
    let boot_id = boot_id();
    let first = CaptureInput::open(file)?;
    listen_to_terminal()?;
    let detail = command.text.detail;
    let confiner = Confiner::new(&command.relinquishment, Attendance::Attended, detail, None)?;
    let folder = create_apart(&confiner)?;
    let mut looker = start_looker(&command.relinquishment);
    let mut requests = Requests::listen(|| ())?;
    confiner.confine(&mut requests, &Remaining::of_table())?;
    let mut table: Option<LiveTable> = None;
    loop {
        // The file itself, whatever has its name by now.
        let mut input = first.try_clone()?;
        if table.is_some() {
            input.rewind()?;
        }
        let origin = match file.target {
            Target::File(_) if input.file.metadata().is_ok_and(|data| data.is_file()) => {
                TableInput::File
            }
            _ => TableInput::Pipe,
        };
        let name = input.name.clone();
        let finished = input.read(&requests, |findings, _| match table.take() {
            Some(table) => Ok(table),
            None => LiveTable::enter(TableStart {
                command,
                filter: filter.clone(),
                origin,
                origins: file.origins,
                subject: match &file.target {
                    Target::File(path) => {
                        path.file_name().map_or(name, |name| shown(name.as_ref()))
                    }
                    Target::Standard => name,
                },
                counted_by: CountedBy::Packets,
                host: findings.host.clone(),
                looker: of_this_boot(&findings.host, boot_id.as_deref(), looker.take()),
                folder: Rc::clone(&folder),
            }),
        })?;
        // A signal arrived before the file's header.
        let Some((mut read, findings)) = finished.read else {
            return Ok(finished.exit);
        };
        if let Some(failure) = finished.failure {
            read.leave();
            return Err(failure);
        }
        if read.next.is_none() {
            read.end_of_input(findings.loss);
            if let ControlFlow::Break(Stop::Failed(failure)) = read.stay(&requests) {
                read.leave();
                return Err(failure);
            }
        }
        if read.next.take() == Some(AfterReading::ReadAgain) {
            table = Some(read);
            continue;
        }
        read.tell(findings.loss, None);
        offline::tell(&findings);
        tell_refusals();
        return Ok(finished.exit);
    }
}

impl LiveTable {
    /// Waits for keys and signals after the end of the input, until one asks for the end or for another
    /// reading.
    fn stay(&mut self, requests: &Requests) -> ControlFlow<Stop> {
        while !requests.end() && self.next.is_none() {
            self.attend(Attention::Due, &mut NoDropMonitor)?;
            if let Err(error) = wait(&[], requests, Some(self), None) {
                let error = anyhow::Error::new(error).context("cannot wait for keys");
                return ControlFlow::Break(Stop::Failed(error.into()));
            }
        }
        ControlFlow::Continue(())
    }
}
