//! Reads a capture file into any of the outputs.

use std::fs::File;
use std::ops::ControlFlow;

use super::confinement::{Attendance, Confiner, Remaining, tell_refusals};
use super::diagnostics::{hint, say};
use super::failure::{Exit, Failure};
use super::left_out::tell_trigger;
use super::offline::{self, CaptureInput};
use super::output::Plan;
use super::pipeline::{Counts, Pipeline, report, report_tally};
use super::plural::Plural;
use super::receiver::Stop;
use super::selection;
use super::signals::Requests;
use super::source_lines::Finder;
use super::standard_streams::stdout_is_terminal;
use super::trigger::Trigger;
use crate::cli::{Read, Target};
use crate::record::Cause;
use crate::sink::Ending;
use crate::source::savefile::{Findings, Savefile};

/// Reads a file to its end.
pub fn read(command: &Read) -> Result<Exit, Failure> {
    let plan = Plan::new(&command.delivery, stdout_is_terminal())?;
    let filter = selection::filter(&command.delivery.selection)?;
    let trigger = command.delivery.trigger.as_ref();
    let trigger = trigger.map(Trigger::new).transpose()?;
    let input = CaptureInput::open(&command.file)?;
    plan.refuse_input(&input.file)?;
    let files = command.delivery.source_lines.as_ref();
    let detail = command.delivery.text.detail;
    let confiner = Confiner::new(&command.relinquishment, Attendance::Attended, detail, files)?;
    plan.work_apart(&confiner)?;
    let mut requests = Requests::listen(|| ())?;
    let Some(prepared) = plan.prepare(&requests)? else {
        report("kept", Counts::default(), None, None);
        return Ok(Exit::Success);
    };
    let prepared = prepared.reading(&input.file);
    let name = input.name.clone();
    let again = files.and_then(|_| open_again(&command.file.target));
    let mut finder = None;
    // From here on, bytes are parsed that anybody may have written.
    let created = command.delivery.output.as_ref().and_then(Target::path);
    let remaining = Remaining::of_reading(plan.work(), created);
    confiner.confine(&mut requests, &remaining)?;
    let finished = input.read(&requests, |findings, family| {
        finder = files
            .map(|files| Finder::of_capture(&findings.host, files))
            .transpose()?;
        if let (Some(finder), Some(again)) = (&finder, again) {
            learn_places(again, finder);
        }
        plan.announce(&format!("reading {name}"), "");
        let output = prepared.open(&findings.host, family, finder.as_ref().map(Finder::shared))?;
        let (origins, trunc_len) = (command.file.origins, command.trunc_len);
        let pipeline = Pipeline::new(&command.delivery, filter, origins, trunc_len, output);
        Ok(pipeline.keeping().around(trigger))
    })?;

    let mut failure = finished.failure;
    match finished.read {
        Some((mut pipeline, findings)) => {
            let counts = pipeline.counts();
            let ending = Ending {
                loss: findings.loss,
                rejected: pipeline.rejected_in_all(),
                period: findings.period,
                incomplete: findings.incomplete.clone(),
            };
            if let ControlFlow::Break(Stop::Failed(error)) = pipeline.finish(&ending) {
                failure.get_or_insert(error);
            }
            requests.output_is_written();
            report("kept", counts, findings.loss, plan.link_type());
            tell_trigger(pipeline.trigger_counts());
            report_tally(pipeline.tally());
            tell(&findings);
        }
        None => report("kept", Counts::default(), None, None),
    }
    if let Some(finder) = finder {
        finder.tell();
    }
    tell_refusals();
    failure.map_or(Ok(finished.exit), Err)
}

/// Opens the file once more. A pipe can be read only once.
fn open_again(input: &Target) -> Option<File> {
    let Target::File(path) = input else {
        return None;
    };
    let is_file = path.metadata().is_ok_and(|data| data.is_file());
    is_file.then(|| File::open(path).ok())?
}

/// Reads the file once in advance: any complete location in it shows where the kernel was loaded,
/// and then truncated ones can be found as well.
fn learn_places(file: File, finder: &Finder) {
    let Ok(mut savefile) = Savefile::open(file) else {
        return;
    };
    // Damaged data is reported by the second reading.
    let _ = savefile.for_each(|record| {
        if let Cause::Software { location, .. } = record.cause {
            finder.learn(location);
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Prints messages about the file.
fn tell(findings: &Findings) {
    if findings.left_out.summaries > 0 {
        say(format_args!(
            "{} left out: {} without packets",
            Plural(findings.left_out.summaries, "summary alert"),
            Plural(findings.summary_drops, "counted drop")
        ));
        hint(
            "--summary shows what they count; for packets, capture in packet mode, as `dwdump -w` does",
        );
    }
    offline::tell(findings);
}
