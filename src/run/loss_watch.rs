//! Reports lost packets during a run to a front end. On standard error, the closing lines report them.

use super::diagnostics::{Severity, tell};
use super::pipeline::report_loss;
use crate::record::Loss;

/// The loss that was reported so far.
#[derive(Debug, Default)]
pub struct LossWatch {
    told: Loss,
}

impl LossWatch {
    /// Reports the loss since the start if it grew. The first report is a warning; later ones are notes,
    /// because Wireshark shows a box for each warning.
    pub fn tell(&mut self, loss: Option<Loss>) {
        if let Some((severity, text)) = self.news(loss) {
            tell(severity, &text);
        }
    }

    fn news(&mut self, loss: Option<Loss>) -> Option<(Severity, String)> {
        let loss = loss.filter(|loss| *loss != self.told)?;
        let severity = if self.told == Loss::default() {
            Severity::Warning
        } else {
            Severity::Note
        };
        self.told = loss;
        let mut lines = Vec::new();
        report_loss(&mut lines, Some(loss));
        let text = String::from_utf8_lossy(&lines).trim_end().to_owned();
        Some((severity, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_is_a_warning_and_more_a_note() {
        let mut watch = LossWatch::default();
        let queue = |queue| {
            Some(Loss {
                queue,
                ..Loss::default()
            })
        };
        assert_eq!(watch.news(None), None);
        assert_eq!(watch.news(queue(0)), None);
        let (severity, text) = watch.news(queue(2)).unwrap();
        assert_eq!(severity, Severity::Warning);
        assert_eq!(
            text,
            "2 packets lost in the kernel's queue\n0 packets lost in the socket buffer\n\
             hint: -l N makes the kernel's queue longer"
        );
        assert_eq!(watch.news(queue(2)), None);
        assert_eq!(watch.news(queue(3)).unwrap().0, Severity::Note);
    }
}
