//! How far something that takes its time has come, on stderr: a bar with the time left on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is written where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// One service's progress.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    last: Instant,
}

/// How far it is.
pub(super) struct Stage {
    pub(super) done: u64,
    pub(super) total: u64,
    /// What else there is to say.
    pub(super) message: String,
}

impl Progress {
    /// `done` says what is counted, as a part of indicatif's template: `{bytes}/{total_bytes}`, say.
    pub(super) fn of(service: &'static str, done: &str) -> Self {
        let target = ProgressDrawTarget::stderr();
        let bar = (!target.is_hidden()).then(|| {
            let bar = ProgressBar::with_draw_target(None, target).with_prefix(service);
            let style = format!("{{prefix}} {{wide_bar}} {done} {{msg}}, {{eta}} left");
            ProgressStyle::with_template(&style).map_or(bar.clone(), |style| bar.with_style(style))
        });
        Self { bar, last: Instant::now() }
    }

    /// Shows how far it is; where no bar can be drawn, has a line said now and again.
    pub(super) fn show(&mut self, stage: impl FnOnce() -> Stage, line: impl FnOnce()) {
        if let Some(bar) = &self.bar {
            let Stage { done, total, message } = stage();
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(message);
        } else if self.last.elapsed() >= LINE_EVERY {
            self.last = Instant::now();
            line();
        }
    }

    /// Makes room for what is said at the end.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
