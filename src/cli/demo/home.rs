//! The demonstration's files: manifests, configuration, the agent's state. In a directory of its own that goes at the end,
//! or in one that the user wants to keep.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::DirBuilderExt,
    panic,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, ensure};

use super::{Mode, Snapshot, world::SFS};
use crate::{
    api::manifest::Source,
    cli::input,
    config::{Config, ConfigError, Flags, Surroundings},
};

/// The node that is played; one of `manifests/nodes.yaml`.
pub(super) const NODE: &str = "dpu-2";

const SUBNET: &str = include_str!("manifests/ipam-subnet.yaml");
const NETWORK: &str = include_str!("manifests/ipam-network.yaml");

/// The directory. Goes with this value, unless it is kept.
pub(super) struct Home {
    dir: PathBuf,
    kept: bool,
}

impl Home {
    /// Makes it, with everything but the pool.
    ///
    /// # Errors
    /// It cannot be made, or the one to keep is not empty.
    pub(super) fn new(keep: Option<&Path>) -> anyhow::Result<Self> {
        let home = match keep {
            Some(dir) => {
                let context = || format!("cannot use {}", dir.display());
                fs::create_dir_all(dir).with_context(context)?;
                let dir = fs::canonicalize(dir).with_context(context)?;
                let empty = fs::read_dir(&dir).with_context(context)?.next().is_none();
                ensure!(empty, "{} is not empty; --keep wants a new directory", dir.display());
                Self { dir, kept: true }
            }
            None => {
                let dir = std::env::temp_dir().join(format!("dpu-ipam-demo-{}", process::id()));
                let made = fs::DirBuilder::new().mode(0o700).create(&dir);
                made.with_context(|| format!("cannot make {}", dir.display()))?;
                Self { dir, kept: false }
            }
        };
        home.goes_with_a_panic();
        fs::create_dir(home.manifests())?;
        home.write("manifests/nodes.yaml", include_str!("manifests/nodes.yaml"))?;
        home.write("manifests/services.yaml", include_str!("manifests/services.yaml"))?;
        home.write("config.yaml", &home.config_text())?;
        if home.kept {
            home.write("ipam-subnet.yaml", SUBNET)?;
            home.write("ipam-network.yaml", NETWORK)?;
        }
        Ok(home)
    }

    /// The release build aborts on a panic, where nothing is dropped.
    fn goes_with_a_panic(&self) {
        let (dirs, before) = (self.dirs_that_go(), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            remove(&dirs);
            before(info);
        }));
    }

    fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    fn pool(&self) -> PathBuf {
        self.dir.join("manifests/ipam.yaml")
    }

    /// Adds the pool in this mode, or changes it to this mode, in one piece.
    pub(super) fn apply(&self, mode: Mode) -> anyhow::Result<()> {
        let text = match mode {
            Mode::Subnet => SUBNET,
            Mode::Network => NETWORK,
        };
        self.write("manifests/.ipam.yaml.new", text)?;
        fs::rename(self.dir.join("manifests/.ipam.yaml.new"), self.pool()).context("put the pool's manifest")
    }

    /// Removes the pool.
    pub(super) fn remove_pool(&self) -> anyhow::Result<()> {
        fs::remove_file(self.pool()).context("remove the pool's manifest")
    }

    /// The manifests as they stand.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Source>> {
        input::read(&[self.manifests()])
    }

    /// The agent's configuration, out of the file that is kept.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        config(&self.dir, &self.config_text())
    }

    /// [`Self::config`] for later.
    pub(super) fn clone_config(&self) -> impl Fn() -> Result<Config, ConfigError> + use<> {
        let (dir, text) = (self.dir.clone(), self.config_text());
        move || config(&dir, &text)
    }

    /// The machine before the agent did anything, for `plan --observed`.
    pub(super) fn save_snapshot(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        self.write("snapshot.json", &(serde_json::to_string_pretty(snapshot)? + "\n"))
    }

    /// Removes what is not kept. True if it is gone.
    pub(super) fn clean(&self) -> bool {
        let dirs = self.dirs_that_go();
        remove(&dirs);
        dirs.iter().all(|dir| !dir.exists())
    }

    /// What can be done with what is kept.
    pub(super) fn how_to_play(&self) -> Option<String> {
        let dir = self.dir.display();
        self.kept.then(|| {
            format!(
                "
Kept in {dir}:
the manifests, config.yaml, and in snapshot.json the machine before the first pass. Try:
  dpu-ipam validate -f {dir}/manifests
  dpu-ipam split -f {dir}/manifests -o table
  dpu-ipam plan --config {dir}/config.yaml --observed {dir}/snapshot.json
  cp {dir}/ipam-network.yaml {dir}/manifests/ipam.yaml   # the other mode; split and plan again"
            )
        })
    }

    /// What is removed at the end, in words.
    pub(super) fn what_goes(&self) -> String {
        let dirs: Vec<_> = self.dirs_that_go().iter().map(|dir| dir.display().to_string()).collect();
        dirs.join(", ")
    }

    fn dirs_that_go(&self) -> Vec<PathBuf> {
        if self.kept { vec![self.state(), self.runtime()] } else { vec![self.dir.clone()] }
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    fn runtime(&self) -> PathBuf {
        self.dir.join("run")
    }

    fn config_text(&self) -> String {
        // A JSON text is a YAML text, whatever the path.
        let quoted = |path: PathBuf| serde_json::Value::from(path.display().to_string());
        let interfaces: String = SFS
            .iter()
            .map(|sf| {
                format!(
                    "  - name: {0}\n    match: {{netdev: {1}}}\n    serviceInterface: {{serviceID: {0}, interfaceName: app-iface}}\n",
                    sf.service, sf.netdev
                )
            })
            .collect();
        format!(
            "# What `dpu-ipam demo` ran with. On a DPU an SF is better matched by {{pci: ..., sfnum: ...}}.\n\
             node: {NODE}\n\
             source:\n  files: {{path: {}}}\n\
             interfaces:\n{interfaces}\
             stateDir: {}\n\
             runtimeDir: {}\n\
             nvIpamStore: none\n",
            quoted(self.manifests()),
            quoted(self.state()),
            quoted(self.runtime())
        )
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        let write = || fs::File::create(&path)?.write_all(text.as_bytes());
        write().with_context(|| format!("write {}", path.display()))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        remove(&self.dirs_that_go());
    }
}

/// Without the surroundings: a variable of this machine's agent must not lead to its files.
fn config(dir: &Path, text: &str) -> Result<Config, ConfigError> {
    let around = Surroundings { variable: &|_| None, hostname: &|| Ok(NODE.to_owned()) };
    Config::from_text(&dir.join("config.yaml"), text, &Flags::default(), &around)
}

fn remove(dirs: &[PathBuf]) {
    for dir in dirs {
        // Whoever wants to know looks.
        let _ = fs::remove_dir_all(dir);
    }
}
