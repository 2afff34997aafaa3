//! The same for the drops of a capture file, which may be of another host.

use std::ops::ControlFlow;

use super::looker::Looker;
use super::{Seeker, missing_rights, tell_missing_rights};
use crate::cli::{CaptureFile, Diagnosis};
use crate::filter::Filter;
use crate::record::CaptureHost;
use crate::run::capture::boot_id;
use crate::run::confinement::{Attendance, Confiner, Remaining, tell_refusals};
use crate::run::diagnostics::{say, standard_error};
use crate::run::failure::{Exit, Failure};
use crate::run::offline::{self, CaptureInput};
use crate::run::pipeline::report_loss;
use crate::run::receiver::Stop;
use crate::run::selection::Selected;
use crate::run::signals::Requests;
use crate::sandbox::Work;
use crate::why::{CauseFinding, DropCase};

/// The host that drops happened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureOrigin {
    /// This one, a moment ago.
    Live,
    /// This one, since it was booted.
    ThisBoot,
    /// Another one, or this one before it was booted.
    Elsewhere,
    /// The file does not say.
    Untold,
}

impl CaptureOrigin {
    /// Returns the origin of the drops in a file, by its section header and the id of this boot.
    pub fn of_file(captured: &CaptureHost, boot_id: Option<&str>) -> Self {
        match (&captured.boot, boot_id) {
            (Some(theirs), Some(ours)) if theirs.raw() == ours => Self::ThisBoot,
            (Some(_), _) => Self::Elsewhere,
            (None, _) => Self::Untold,
        }
    }

    /// Lets the process look at its own namespace for a drop of another host's initial one.
    pub fn adapt(self, case: &mut DropCase) {
        if matches!(self, Self::Elsewhere | Self::Untold) && case.is_initial {
            case.netns = None;
        }
    }

    /// Makes nothing more than likely where the host is not the same.
    pub fn weaken(self, finding: &mut CauseFinding) {
        match self {
            Self::Live | Self::ThisBoot => {}
            Self::Elsewhere => {
                finding.weaken("the drop happened on another host, or before this one was booted");
            }
            Self::Untold => finding.weaken("the capture does not say on which host it was made"),
        }
    }

    fn announce(self, name: &str) {
        match self {
            Self::Live => {}
            Self::ThisBoot => say(format_args!(
                "reading {name}, and looking at this host as it is now"
            )),
            Self::Elsewhere => say(format_args!(
                "{name} was captured on another host, or before this one was booted: looking at this one, nothing is \
                 more than likely"
            )),
            Self::Untold => say(format_args!(
                "{name} does not say on which host it was captured: looking at this one, nothing is more than likely"
            )),
        }
    }
}

/// Looks for the causes of the drops in a file.
pub fn explain(
    command: &Diagnosis,
    input: &CaptureFile,
    filter: Filter,
    looker: Looker,
) -> Result<Exit, Failure> {
    let origins = input.origins;
    let input = CaptureInput::open(input)?;
    let mut requests = Requests::listen(|| ())?;
    let name = input.name.clone();
    let (boot_id, missing) = (boot_id(), missing_rights());
    let detail = command.text.detail;
    Confiner::new(&command.relinquishment, Attendance::Attended, detail, None)?.confine(
        &mut requests,
        &Remaining::of_reading(vec![Work::Waiting], None),
    )?;
    let finished = input.read(&requests, |findings, _| {
        let origin = CaptureOrigin::of_file(&findings.host, boot_id.as_deref());
        origin.announce(&name);
        tell_missing_rights(missing);
        Seeker::new(command, Selected { filter, origins }, looker, origin)
    })?;
    let mut failure = finished.failure;
    if let Some((mut seeker, findings)) = finished.read {
        if let ControlFlow::Break(Stop::Failed(error)) = seeker.finish() {
            failure.get_or_insert(error);
        }
        report_loss(&mut standard_error(), findings.loss);
        offline::tell(&findings);
    }
    tell_refusals();
    failure.map_or(Ok(finished.exit), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::why::Grade;

    #[test]
    fn only_a_capture_of_this_boot_can_be_certain() {
        let captured = |boot: Option<&str>| CaptureHost {
            boot: boot.map(|id| id.to_owned().into()),
            ..CaptureHost::default()
        };
        for (theirs, ours, expected) in [
            (Some("a"), Some("a"), CaptureOrigin::ThisBoot),
            (Some("a"), Some("b"), CaptureOrigin::Elsewhere),
            (Some("a"), None, CaptureOrigin::Elsewhere),
            (None, Some("a"), CaptureOrigin::Untold),
            (None, None, CaptureOrigin::Untold),
        ] {
            let origin = CaptureOrigin::of_file(&captured(theirs), ours);
            assert_eq!(origin, expected);
            let is_this = origin == CaptureOrigin::ThisBoot;
            for (before, after) in [
                (Grade::Certain, Grade::Likely),
                (Grade::Likely, Grade::Likely),
                (Grade::Unknown, Grade::Unknown),
            ] {
                let mut finding = CauseFinding::new("x", before, "a claim");
                origin.weaken(&mut finding);
                assert_eq!(finding.grade, if is_this { before } else { after });
                assert_eq!(finding.proof.is_some(), finding.grade != before);
            }
            for is_initial in [false, true] {
                let mut case = DropCase {
                    netns: Some(7),
                    is_initial,
                    ..DropCase::default()
                };
                origin.adapt(&mut case);
                assert_eq!(case.netns.is_some(), is_this || !is_initial);
            }
        }
    }
}
