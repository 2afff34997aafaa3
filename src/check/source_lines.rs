//! The kernel's debug information, for source lines.

use super::Finding;

const SUBJECT: &str = "source lines";

/// Returns the line about debug information.
#[cfg(feature = "source-lines")]
pub fn finding() -> Finding {
    use crate::record::Escaped;
    use crate::symbol::debug_search::{Search, WantedKernel};

    let search = Search::new(WantedKernel::Running, None, None);
    match search.vmlinux().into_iter().find(|file| file.exists()) {
        Some(file) => {
            let path = Escaped(file.as_os_str().as_encoded_bytes());
            Finding::yes(SUBJECT, format!("debug information in {path}"))
        }
        None => Finding::no(
            SUBJECT,
            "this kernel's debug information is not installed",
            search.advice(),
        ),
    }
}

/// Returns the line about debug information, which this build cannot read.
#[cfg(not(feature = "source-lines"))]
pub fn finding() -> Finding {
    Finding::no(
        SUBJECT,
        "this dwdump was built without them",
        "build it with the feature source-lines, which is on by default",
    )
}
