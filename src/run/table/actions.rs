//! Carries out the keys' actions that need more than the view: filters, captures of a row, and
//! changes to what the kernel sends.

use std::ops::ControlFlow;
use std::path::Path;

use chrono::{DateTime, Local, Utc};

use super::super::begin::{COUNTED_LEN, Purpose};
use super::super::plural::Plural;
use super::super::receiver::{DropMonitor, Stop};
use super::super::selection;
use super::capture::RowCapture;
use super::names::LocalNames;
use super::{AfterReading, LiveTable, TableInput};
use crate::cli::Role;
use crate::errno::describe;
use crate::filter::Filter;
use crate::record::{Loss, Timestamp};
use crate::sink::Zone;
use crate::table::{Action, CountedBy, LineError, file_stem};

impl LiveTable {
    /// Carries out an action.
    pub(super) fn act(
        &mut self,
        action: Action,
        monitor: &mut dyn DropMonitor,
    ) -> ControlFlow<Stop> {
        match action {
            Action::Quit => {
                self.next = Some(AfterReading::Quit);
                return ControlFlow::Break(Stop::Asked);
            }
            Action::Suspend => return self.suspend(),
            Action::Repaint => return self.repaint(),
            Action::Filter(text) => return self.filter(&text, monitor),
            Action::ProposeName => self.propose_name(),
            Action::Write(name) => return self.write(&name, monitor),
            Action::StopWriting => self.stop_writing(monitor),
            Action::NeedPackets => self.need_packets(Purpose::Packets(COUNTED_LEN), monitor),
            Action::ShowSettings => self.show_settings(monitor),
            Action::Clear => self.clear(),
        }
        ControlFlow::Continue(())
    }

    fn suspend(&mut self) -> ControlFlow<Stop> {
        let Some(screen) = self.screen.take() else {
            return ControlFlow::Continue(());
        };
        match screen.suspend() {
            Ok(screen) => {
                self.screen = Some(screen);
                // Diagnostics were printed on the other screen.
                self.shown_diagnostics = 0;
                ControlFlow::Continue(())
            }
            Err(failure) => ControlFlow::Break(Stop::Failed(failure)),
        }
    }

    /// Switches the kernel to packets, if it sends counts.
    fn need_packets(&mut self, purpose: Purpose, monitor: &mut dyn DropMonitor) {
        let is_whole = purpose == Purpose::Packets(0);
        match self.origin {
            TableInput::Kernel(Role::Owner { .. }) => {
                let was_counting = self.view.counted_by != CountedBy::Packets;
                if !was_counting && !is_whole {
                    return;
                }
                match monitor.switch(purpose) {
                    Ok(()) if was_counting => {
                        self.view.status = "the kernel sends packets now".into();
                        self.view.counted_by = CountedBy::Packets;
                    }
                    Ok(()) => {}
                    Err(error) => self.view.status = error.to_string(),
                }
            }
            TableInput::Kernel(Role::Passive) if self.view.counted_by == CountedBy::Kernel => {
                self.view.status =
                    "another program's monitoring sends counts without packets".into();
            }
            TableInput::Kernel(Role::Passive) | TableInput::File | TableInput::Pipe => {}
        }
    }

    fn filter(&mut self, text: &str, monitor: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        let filter = match Filter::parse(text, &LocalNames) {
            Ok(filter) => filter,
            Err(error) => {
                let error = LineError {
                    message: error.message().to_owned(),
                    span: Some(error.span()),
                };
                self.view.refuse_filter(text, error);
                return ControlFlow::Continue(());
            }
        };
        selection::warn_of_unknown_reasons(&filter);
        self.view.filter = filter.to_string();
        let is_known = match self.view.counted_by {
            CountedBy::Kernel => filter.keeps_all(),
            CountedBy::Programs => filter.needs_no_packet(),
            CountedBy::Packets => true,
        };
        let filter = match &self.interface {
            Some(name) => filter.on_interface(name),
            None => filter,
        };
        let contradiction = filter.contradiction();
        self.event_filter.selected.filter = filter;
        if self.origin == TableInput::File
            && let Some(line) = self.end_capture(None, None)
        {
            // When the file is read again, the packets would be written a second time.
            self.view.status = line;
        }
        self.reset();
        if !is_known {
            self.need_packets(Purpose::Packets(COUNTED_LEN), monitor);
        }
        if self.origin == TableInput::Pipe && self.view.status.is_empty() {
            self.view.status = "the filter applies from now on".into();
        }
        if let Some(contradiction) = contradiction {
            self.view.status = contradiction.to_string();
        }
        self.read_again()
    }

    /// Ends this reading and starts another, if the input is a file that can be read again.
    fn read_again(&mut self) -> ControlFlow<Stop> {
        if self.origin != TableInput::File {
            return ControlFlow::Continue(());
        }
        self.next = Some(AfterReading::ReadAgain);
        ControlFlow::Break(Stop::Asked)
    }

    fn propose_name(&mut self) {
        let Some(key) = self.view.selected() else {
            return;
        };
        let time = self.shown_time(Timestamp::now(), "%Y%m%d-%H%M%S");
        let stem = file_stem(key);
        self.view.ask_name(format!("drops-{stem}-{time}.pcapng"));
    }

    /// Formats a time in the time zone that the user chose.
    fn shown_time(&self, time: Timestamp, format: &str) -> String {
        let time = DateTime::from(time);
        match self.view.look.text.zone {
            Zone::Utc => time.with_timezone(&Utc).format(format).to_string(),
            Zone::Local => time.with_timezone(&Local).format(format).to_string(),
        }
    }

    fn write(&mut self, name: &str, monitor: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        let Some(key) = self.view.selected().cloned() else {
            return ControlFlow::Continue(());
        };
        let began = match self.origin {
            TableInput::File => None,
            TableInput::Kernel(_) | TableInput::Pipe => Some((Timestamp::now(), monitor.loss())),
        };
        let grouping = self.view.grouping;
        match RowCapture::create(
            &self.folder,
            Path::new(name),
            grouping,
            key,
            &self.host,
            began,
        ) {
            Ok(capture) => self.capture = Some(capture),
            Err(error) => {
                let message = format!("cannot create the file: {}", describe(&error));
                self.view.refuse_name(name, message);
                return ControlFlow::Continue(());
            }
        }
        self.need_packets(Purpose::Packets(0), monitor);
        if self.origin == TableInput::File {
            self.reset();
        }
        self.read_again()
    }

    fn stop_writing(&mut self, monitor: &mut dyn DropMonitor) {
        let loss = monitor.loss();
        let line = self.end_capture(loss, monitor.disturbance());
        if let TableInput::Kernel(Role::Owner { .. }) = self.origin
            && let Err(error) = monitor.switch(Purpose::Packets(COUNTED_LEN))
        {
            self.view.status = error.to_string();
            return;
        }
        self.view.status = line.unwrap_or_default();
    }

    fn clear(&mut self) {
        if self.view.is_over || self.origin == TableInput::File {
            self.view.status = "the counts of a file cannot be reset; / filters them".into();
        } else {
            self.reset();
            self.view.status = "counts were reset".into();
        }
    }

    /// Shows the settings and statistics, like `show` and `stats` in dropwatch.
    pub(super) fn show_settings(&mut self, monitor: &mut dyn DropMonitor) {
        let mut lines = vec![format!("counted        {}", self.view.subject)];
        lines.push(format!(
            "since          {}",
            self.shown_time(self.started, "%Y-%m-%d %H:%M:%S")
        ));
        match self.origin {
            TableInput::Kernel(Role::Owner { .. }) => {
                lines.push("monitoring     started by this dwdump, ends with it".into());
            }
            TableInput::Kernel(Role::Passive) => {
                lines.push("monitoring     another program's, left as it is".into());
            }
            TableInput::File | TableInput::Pipe => {
                let Self { host, .. } = self;
                let host = [&host.os, &host.hardware];
                let host = host.map(|part| part.as_ref().map_or("-".into(), ToString::to_string));
                lines.push(format!("captured on    {}", host.join(", ")));
            }
        }
        if let Some(settings) = monitor.settings() {
            lines.push(format!("alert mode     {}", settings.mode));
            lines.push(match settings.trunc_len {
                0 => "truncation     none: whole packets".into(),
                len => format!("truncation     {len} bytes of each packet"),
            });
            lines.push(format!(
                "queue length   {} on each CPU",
                Plural(settings.queue_len.into(), "packet")
            ));
        }
        let loss = monitor.loss().or(self.view.counters.loss);
        lines.extend(loss_lines(loss));
        lines.push(format!(
            "not counted    {}, by the filter",
            Plural(self.event_filter.rejected, "drop")
        ));
        if self.event_filter.full_alerts > 0 {
            lines.push(format!(
                "full alerts    {}: drops at other locations may be missing",
                self.event_filter.full_alerts
            ));
        }
        self.view.show_settings(lines);
    }
}

fn loss_lines(loss: Option<Loss>) -> [String; 2] {
    let [queue, buffer] = match loss {
        Some(loss) => [loss.queue, loss.sum().saturating_sub(loss.queue)]
            .map(|lost| Plural(lost, "packet").to_string()),
        None => ["unknown", "unknown"].map(str::to_owned),
    };
    // Either a socket's or eBPF's.
    let label = match loss {
        Some(Loss {
            interrupts: 1.., ..
        }) => "lost otherwise",
        Some(Loss { perf: 1.., .. }) => "lost in buffer",
        _ => "lost in socket",
    };
    [
        format!("lost in queue  {queue}"),
        format!("{label} {buffer}"),
    ]
}
