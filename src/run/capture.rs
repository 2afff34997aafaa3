//! Captures live: writes every drop that the filter keeps into the sinks.

use super::begin::Purpose;
use super::beginning::Beginning;
use super::confinement::{Attendance, Confiner, tell_refusals};
use super::diagnostics::{hint, note, say};
use super::failure::{Exit, Failure};
use super::kernel_filter::Attached;
use super::left_out::{tell_left_out, tell_skipped, tell_trigger};
use super::live::{Needs, Opening, ReceiverNeeds};
use super::output::Plan;
use super::pipeline::{Counts, Pipeline, report, report_tally};
use super::plural::Plural;
use super::selection;
use super::source_lines::Finder;
use super::standard_streams::stdout_is_terminal;
use super::trigger::Trigger;
use crate::cli::{Capture, Filtering};
use crate::net_dm::control::AlertMode;
use crate::record::{CaptureHost, Loss, Timestamp};
use crate::sink::{Ending, Rejected};
use crate::source::LeftOut;

/// Captures until a signal or a limit ends the run.
pub fn capture(command: &Capture) -> Result<Exit, Failure> {
    let plan = Plan::new(&command.delivery, stdout_is_terminal())?;
    plan.refuse_compression()?;
    let filter = selection::filter(&command.delivery.selection)?;
    let trigger = command.delivery.trigger.as_ref();
    let trigger = trigger.map(Trigger::new).transpose()?;
    let files = command.delivery.source_lines.as_ref();
    let finder = files.map(Finder::of_running_kernel).transpose()?;
    let in_kernel = (command.filtering == Filtering::KernelToo).then_some(&filter);
    let confiner = Confiner::new(
        &command.relinquishment,
        Attendance::Unattended,
        command.live.detail,
        files,
    )?;
    plan.work_apart(&confiner)?;
    let opening = Opening::new(&command.live, Some(&confiner))?;
    let Some(prepared) = plan.prepare(opening.requests())? else {
        report("captured", Counts::default(), None, None);
        return Ok(Exit::Success);
    };
    if command.delivery.rotation.has_several_files() {
        opening.requests().rotate_at_hangup();
    }
    let announce = |beginning: &_| announce(beginning, &plan);
    let needs = Needs {
        purpose: Purpose::Packets(0),
        ebpf_for: selection::word_of_ebpf(&filter)
            .or_else(|| trigger.as_ref().and_then(Trigger::word_of_ebpf)),
        better_with_ebpf: selection::word_better_with_ebpf(&filter)
            .or_else(|| trigger.as_ref().and_then(Trigger::word_better_with_ebpf)),
    };
    let mut session = opening.begin(&command.live, needs, in_kernel, announce)?;
    if let Some(name) = &command.delivery.selection.interface {
        selection::warn_of_unknown_interface(name);
    }
    let host = capture_host();
    // The threads that the outputs start are confined as well.
    session.confine(&confiner, ReceiverNeeds::OpenFiles(plan.work()))?;
    let output = prepared.open(&host, session.family, finder.as_ref().map(Finder::shared))?;
    let origins = command.live.origins;
    let pipeline = Pipeline::new(&command.delivery, filter, origins, 0, output);
    let pipeline = pipeline.counting_each(command.stats_interval);
    let mut pipeline = pipeline.around(trigger);
    if session.attached.as_ref().is_some_and(Attached::rejects) {
        pipeline.behind_kernel_filter();
    }

    let end = session.run(&mut pipeline);
    let (started, is_tracing) = (session.started, session.is_tracing());
    let finished = session.finish(
        end,
        &mut pipeline,
        |pipeline, loss, left_out, disturbance| {
            let ending = Ending {
                loss,
                rejected: pipeline.rejected_in_all(),
                period: Some((started, Timestamp::now())),
                incomplete: disturbance.into_iter().map(Into::into).collect(),
            };
            let finished = pipeline.finish(&ending);
            tell(pipeline, loss, &plan, left_out, is_tracing);
            finished
        },
    );
    if let Some(finder) = finder {
        finder.tell();
    }
    tell_refusals();
    finished.failure.map_or(Ok(finished.exit), Err)
}

/// Prints the opening lines.
fn announce(beginning: &Beginning, plan: &Plan) {
    match beginning {
        Beginning::Started(started) => {
            let what = format!("capturing {}", started.drops());
            plan.announce(&what, &started.remark().to_string());
            if started.without_hardware {
                note("this kernel does not report hardware drops: capturing software drops only");
            }
        }
        Beginning::Listening(settings) => {
            plan.announce("listening to another program's monitoring", "");
            if settings.mode == AlertMode::Summary {
                say("the kernel is in summary mode: it sends counts, no packets");
                hint(
                    "`dwdump --summary -p` shows them; for packets, the program that started the monitoring has to \
                     choose packet mode, as dwdump without -p does",
                );
            }
        }
    }
}

/// Describes this machine.
pub fn capture_host() -> CaptureHost {
    let Ok(uname) = nix::sys::utsname::uname() else {
        return CaptureHost::default();
    };
    let text = |field: &std::ffi::OsStr| field.to_string_lossy().into_owned();
    CaptureHost {
        hardware: Some(text(uname.machine()).into()),
        os: Some(format!("{} {}", text(uname.sysname()), text(uname.release())).into()),
        boot: boot_id().map(Into::into),
    }
}

/// Returns what tells this boot of this machine from every other.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim_end().to_owned()).filter(|id| !id.is_empty())
}

/// Prints the closing lines.
fn tell(pipeline: &Pipeline, loss: Option<Loss>, plan: &Plan, left_out: LeftOut, is_tracing: bool) {
    report("captured", pipeline.counts(), loss, plan.link_type());
    tell_trigger(pipeline.trigger_counts());
    report_tally(pipeline.tally());
    let counts = pipeline.counts();
    let passed_over = pipeline
        .trigger_counts()
        .map_or(0, |counts| counts.passed_over);
    let nothing_came =
        counts.captured == 0 && passed_over == 0 && counts.rejected == Rejected::Counted(0);
    if nothing_came && is_tracing && loss == Some(Loss::default()) {
        note("nothing was dropped");
        hint(
            "some drops are never reported: packets without a route (the sender gets an error), \
             and a NIC's own drops (`ip -s link`, `ethtool -S`)",
        );
    } else if nothing_came && loss.is_none_or(|loss| loss == Loss::default()) {
        note("the kernel reported no dropped packets");
        hint(
            "some drops are only counted, which `dwdump --summary` shows: by the OUTPUT and POSTROUTING hooks \
             (`nft list ruleset`), and for neighbours that do not answer (`ip neigh`); some are never reported: \
             packets without a route (the sender gets an error), and a NIC's own drops (`ip -s link`, `ethtool -S`)",
        );
    }
    if left_out.summaries > 0 {
        say(format_args!(
            "{} without packets arrived: the kernel was in summary mode",
            Plural(left_out.summaries, "summary alert")
        ));
    }
    tell_skipped(left_out.skipped_attributes);
    tell_left_out(left_out);
}
