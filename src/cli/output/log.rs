//! How a line of the log looks: for eyes on a terminal, with its priority for the journal, with the time for a file.

use std::{env, fmt, fs, io, io::IsTerminal, os::unix::fs::MetadataExt};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Who reads standard error, and therefore what a line begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// A person, now: the same words as remarks have.
    Person,
    /// systemd's journal, which has a clock and reads `<priority>` (sd-daemon(3)).
    Journal,
    /// A file or a pipe.
    File,
}

/// The form of a line.
#[derive(Debug)]
pub(super) struct Lines {
    reader: Reader,
    color: bool,
}

impl Lines {
    pub(super) fn new(color: bool) -> Self {
        let reader = if io::stderr().is_terminal() {
            Reader::Person
        } else if is_journal() {
            Reader::Journal
        } else {
            Reader::File
        };
        Self { reader, color }
    }
}

/// Whether standard error is the stream that systemd named. A child's redirected one is not, though the variable is there.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|m| stream == format!("{}:{}", m.dev(), m.ino()))
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        // The journal's priorities are syslog's.
        let (word, color, priority) = match level {
            Level::ERROR => ("error", "31", 3),
            Level::WARN => ("warning", "33", 4),
            Level::INFO => ("info", "32", 6),
            Level::DEBUG | Level::TRACE => ("debug", "36", 7),
        };
        match self.reader {
            Reader::Person => write!(line, "{} ", super::tag(word, color, self.color))?,
            Reader::Journal => write!(line, "<{priority}>")?,
            Reader::File => {
                SystemTime.format_time(&mut line)?;
                write!(line, " {level:>5} ")?;
            }
        }
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}
