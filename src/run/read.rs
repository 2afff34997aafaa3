//! Reads a capture file into any of the outputs.

use std::fs::File;
use std::ops::ControlFlow;

use super::diagnostics::{hint, say};
use super::failure::{Exit, Failure};
use super::offline::{self, CaptureInput};
use super::output::Plan;
use super::pipeline::{Counts, Pipeline, report, report_tally};
use super::plural::Plural;
use super::receiver::Stop;
use super::selection;
use super::signals::Requests;
use super::source_lines::Finder;
use super::standard_streams::stdout_is_terminal;
use crate::cli::{Read, Target};
use crate::record::Cause;
use crate::sink::Ending;
use crate::source::savefile::{Findings, Savefile};

/// Reads a file to its end.
pub fn read(command: &Read) -> Result<Exit, Failure> {
    let plan = Plan::new(&command.delivery, stdout_is_terminal())?;
    let filter = selection::filter(&command.delivery.selection)?;
    let input = CaptureInput::open(&command.file)?;
    plan.refuse_input(&input.file)?;
    let requests = Requests::listen(|| ())?;
    let Some(prepared) = plan.prepare(&requests)? else {
        report("kept", Counts::default(), None, None);
        return Ok(Exit::Success);
    };
    let name = input.name.clone();
    let mut finder = None;
    let finished = input.read(&requests, |findings, family| {
        let files = command.delivery.source_lines.as_ref();
        finder = files
            .map(|files| Finder::of_capture(&findings.host, files))
            .transpose()?;
        if let Some(finder) = &finder {
            learn_places(&command.file.target, finder);
        }
        plan.announce(&format!("reading {name}"), "");
        let output = prepared.open(&findings.host, family, finder.as_ref().map(Finder::shared))?;
        let (origins, trunc_len) = (command.file.origins, command.trunc_len);
        let pipeline = Pipeline::new(&command.delivery, filter, origins, trunc_len, output);
        Ok(pipeline.keeping())
    })?;

    let mut failure = finished.failure;
    match finished.read {
        Some((mut pipeline, findings)) => {
            let counts = pipeline.counts();
            let ending = Ending {
                loss: findings.loss,
                rejected: counts.rejected,
                period: findings.period,
                incomplete: findings.incomplete.clone(),
            };
            if let ControlFlow::Break(Stop::Failed(error)) = pipeline.finish(&ending) {
                failure.get_or_insert(error);
            }
            report("kept", counts, findings.loss, plan.link_type());
            report_tally(pipeline.tally());
            tell(&findings);
        }
        None => report("kept", Counts::default(), None, None),
    }
    if let Some(finder) = finder {
        finder.tell();
    }
    failure.map_or(Ok(finished.exit), Err)
}

/// Reads the file once in advance: any complete location in it shows where the kernel was loaded,
/// and then truncated ones can be found as well. A pipe can be read only once.
fn learn_places(input: &Target, finder: &Finder) {
    let Target::File(path) = input else { return };
    if !path.metadata().is_ok_and(|data| data.is_file()) {
        return;
    }
    let Ok(file) = File::open(path) else { return };
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
