//! What the loop waits for beside the kernel and signals: the manifests and moments.

use std::time::Instant;

use tracing::warn;

use crate::{
    config::{Config, SourceConfig},
    source::files::FilesSource,
};

/// The watch on the manifests. Where the system refuses one, the resync reads them instead.
pub(super) struct Changes(Option<FilesSource>);

impl Changes {
    pub(super) fn watch(config: &Config) -> Self {
        let SourceConfig::Files { paths } = &config.source;
        let source = FilesSource::new(paths.clone());
        Self(
            source.inspect_err(|e| warn!("{e}; the manifests are read again every {:?}", config.resync)).ok(),
        )
    }

    pub(super) async fn changed(&mut self) {
        if let Some(source) = &mut self.0 {
            match source.changed().await {
                Ok(()) => return,
                Err(error) => warn!("{error}; the manifests are read again with every resync"),
            }
            self.0 = None;
        }
        std::future::pending::<()>().await;
    }
}

/// Waits until `at`; for ever without one.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
