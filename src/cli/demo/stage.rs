//! What the audience sees: headings, lines, claims, and the pauses between them. Knows nothing of what is played.

use std::{
    io::{self, BufRead, IsTerminal},
    thread,
    time::Duration,
};

use anyhow::bail;
use tokio::sync::mpsc;

use super::Output;

/// Time to read a line, and to read a part.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(700));

/// Where the demonstration is shown.
pub(super) struct Stage<'a> {
    out: &'a Output,
    pub(super) paint: Paint,
    pace: Pace,
    part: u32,
}

enum Pace {
    AtOnce,
    Timed,
    Enter(mpsc::UnboundedReceiver<()>),
}

impl<'a> Stage<'a> {
    pub(super) fn new(out: &'a Output, step: bool, fast: bool) -> Self {
        let pace = match (step, fast || !io::stdout().is_terminal()) {
            (true, _) => Pace::Enter(lines()),
            (false, true) => Pace::AtOnce,
            (false, false) => Pace::Timed,
        };
        Self { out, paint: Paint(out.paints_text()), pace, part: 0 }
    }

    /// Begins a part, when the audience is ready for it.
    pub(super) async fn part(&mut self, title: &str) -> anyhow::Result<()> {
        self.part += 1;
        match &mut self.pace {
            Pace::AtOnce => {}
            Pace::Timed => tokio::time::sleep(PAUSES.1).await,
            Pace::Enter(enter) => {
                if self.part > 1 {
                    self.out.text(&self.paint.dim("\n  press Enter "))?;
                    // Without a standard input there is nobody to wait for.
                    if enter.recv().await.is_none() {
                        self.out.text("\n")?;
                    }
                }
            }
        }
        let title = self.paint.bold(&format!("{}  {title}", self.part));
        Ok(self.out.text(&format!("\n{title}\n"))?)
    }

    /// Lines of text.
    pub(super) fn say(&self, text: &str) -> anyhow::Result<()> {
        Ok(self.out.text(&format!("{text}\n"))?)
    }

    /// A sentence, and whether it was found to be true.
    ///
    /// # Errors
    /// It was not.
    pub(super) fn claim(&self, holds: bool, text: &str) -> anyhow::Result<()> {
        if holds {
            return self.say(&format!("  {} {text}", self.paint.green("✓")));
        }
        self.say(&format!("  {}", self.paint.red(&format!("✗ NOT TRUE: {text}"))))?;
        bail!("a claim did not hold")
    }

    /// [`Self::claim`], and time to read it.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn show(&self, holds: bool, text: &str) -> anyhow::Result<()> {
        self.claim(holds, text)?;
        if let Pace::Timed = self.pace {
            tokio::time::sleep(PAUSES.0).await;
        }
        Ok(())
    }

    /// Whether the audience is asked before each part.
    pub(super) fn waits(&self) -> bool {
        matches!(self.pace, Pace::Enter(_))
    }
}

/// A word for each line of standard input. (A blocking read cannot be given up; its thread ends with the process.)
fn lines() -> mpsc::UnboundedReceiver<()> {
    let (tx, rx) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut lines = io::stdin().lock().lines();
        while let Some(Ok(_)) = lines.next() {
            if tx.send(()).is_err() {
                break;
            }
        }
    });
    rx
}

/// Colors, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.with("36", text)
    }

    fn with(self, color: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
