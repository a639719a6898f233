//! The files source on real directories with real inotify: what must wake it, what must not, and what a read returns.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use dpu_ipam::source::files::{FilesSource, SourceError, Word, read};
use tokio::time::timeout;

/// Long enough for any machine; a wake that does not come fails the test.
const BOUND: Duration = Duration::from_secs(20);
/// How long silence must last to count as silence: some times the settling time.
const SILENCE: Duration = Duration::from_millis(400);

struct Fixture {
    root: tempfile::TempDir,
    source: FilesSource,
}

impl Fixture {
    /// Watches `watched` (relative to a new directory) after `prepare`.
    fn new(watched: &str, prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let source = FilesSource::new(vec![root.path().join(watched)]).unwrap_or_else(|e| panic!("{e}"));
        Self { root, source }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    async fn wakes(&mut self, what: &str) {
        match timeout(BOUND, self.source.changed()).await {
            Ok(result) => result.unwrap_or_else(|e| panic!("{what}: {e}")),
            Err(_) => panic!("{what}: no wake"),
        }
        // One change, one wake: the rest of its events belongs to it.
        self.sleeps(what).await;
    }

    async fn sleeps(&mut self, what: &str) {
        assert!(timeout(SILENCE, self.source.changed()).await.is_err(), "{what}: woken without need");
    }

    /// File names and texts.
    fn texts(&self) -> Vec<(String, String)> {
        let texts = self.source.read().unwrap_or_else(|e| panic!("{e}"));
        let name = |origin: &str| Path::new(origin).file_name().unwrap().to_string_lossy().into_owned();
        texts.iter().map(|t| (name(&t.name), String::from_utf8_lossy(&t.bytes).into_owned())).collect()
    }

    fn first_text(&self) -> String {
        self.texts().remove(0).1
    }
}

fn directory(root: &Path, name: &str, text: &str) {
    fs::create_dir_all(root.join(name)).unwrap();
    fs::write(root.join(name).join("a.yaml"), text).unwrap();
}

#[test]
fn a_directory_means_its_manifests_in_order() {
    let root = tempfile::tempdir().unwrap();
    for name in [
        "b.yml",
        "a.json",
        "c.yaml",
        ".hidden.yaml",
        ".c.yaml.swp",
        "c.yaml~",
        "#c.yaml#",
        "README",
        "d.yaml.bak",
    ] {
        fs::write(root.path().join(name), name).unwrap();
    }
    let extra = root.path().join("README");
    let texts = read(&[root.path().to_owned(), extra]).unwrap();
    let names: Vec<_> = texts.iter().map(|t| String::from_utf8_lossy(&t.bytes)).collect();
    assert_eq!(
        names,
        ["a.json", "b.yml", "c.yaml", "README"],
        "a file that is named itself counts whatever its name"
    );
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_a_shorter_list() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("d");
    let error = |path: &Path| read(&[path.to_owned()]).expect_err("unreadable").to_string();
    assert!(error(&dir).contains("/d: No such file"), "{}", error(&dir));
    directory(root.path(), "d", "x");
    symlink("nowhere", dir.join("b.yaml")).unwrap();
    assert!(error(&dir).contains("b.yaml"), "{}", error(&dir));
    fs::remove_file(dir.join("b.yaml")).unwrap();
    nix::unistd::mkfifo(&dir.join("b.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(read(&[dir]), Err(SourceError::Kind(_))));
}

#[test]
fn a_read_is_one_moment_although_files_change_meanwhile() {
    let root = tempfile::tempdir().unwrap();
    let link = root.path().join("current");
    let publish = |version: u32| {
        let dir = root.path().join(format!("v{version}"));
        fs::create_dir(&dir).unwrap();
        for n in 0..20 {
            fs::write(dir.join(format!("{n}.yaml")), version.to_string()).unwrap();
        }
        symlink(&dir, root.path().join("next")).unwrap();
        fs::rename(root.path().join("next"), &link).unwrap();
    };
    publish(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| (1..300).for_each(publish));
        while !writer.is_finished() {
            match read(std::slice::from_ref(&link)) {
                Ok(texts) => {
                    assert_eq!(texts.len(), 20);
                    assert!(texts.iter().all(|t| t.bytes == texts[0].bytes), "a mixture");
                }
                Err(e) => assert!(matches!(e, SourceError::Unstable), "{e}"),
            }
        }
    });
    assert_eq!(read(&[link]).unwrap()[0].bytes, b"299");
}

#[tokio::test]
async fn files_written_replaced_and_deleted_wake() {
    let mut f = Fixture::new("d", |root| directory(root, "d", "one"));
    f.sleeps("nothing happened").await;
    fs::write(f.path("d/a.yaml"), "two").unwrap();
    f.wakes("written in place").await;
    assert_eq!(f.first_text(), "two");
    fs::write(f.path("d/.new"), "three").unwrap();
    fs::rename(f.path("d/.new"), f.path("d/a.yaml")).unwrap();
    f.wakes("replaced by rename").await;
    assert_eq!(f.first_text(), "three");
    fs::write(f.path("d/b.yml"), "more").unwrap();
    f.wakes("a new file").await;
    assert_eq!(f.texts().len(), 2);
    fs::remove_file(f.path("d/b.yml")).unwrap();
    f.wakes("deleted").await;
    assert_eq!(f.texts().len(), 1);
    fs::write(f.path("d/.a.yaml.swp"), "x").unwrap();
    fs::write(f.path("d/a.yaml~"), "x").unwrap();
    fs::write(f.path("beside.yaml"), "x").unwrap();
    f.sleeps("an editor's files, and files beside").await;
    fs::read_to_string(f.path("d/a.yaml")).unwrap();
    f.sleeps("a read").await;
}

#[tokio::test]
async fn a_directory_that_comes_goes_and_is_swapped_wakes() {
    let mut f = Fixture::new("x/y/d", |_| {});
    assert!(matches!(f.source.read(), Err(SourceError::Read { .. })));
    directory(&f.path(""), "x/y/d", "one");
    f.wakes("made at once with its parents").await;
    assert_eq!(f.first_text(), "one");
    fs::write(f.path("x/y/d/a.yaml"), "two").unwrap();
    f.wakes("watched from then on").await;
    directory(&f.path(""), "x/y/next", "three");
    f.sleeps("a directory beside").await;
    fs::rename(f.path("x/y/d"), f.path("x/y/old")).unwrap();
    fs::rename(f.path("x/y/next"), f.path("x/y/d")).unwrap();
    f.wakes("swapped").await;
    assert_eq!(f.first_text(), "three");
    fs::write(f.path("x/y/old/a.yaml"), "no longer ours").unwrap();
    f.sleeps("the directory that was moved away").await;
    fs::remove_dir_all(f.path("x")).unwrap();
    f.wakes("deleted with its parents").await;
    directory(&f.path(""), "x/y/d", "four");
    f.wakes("made again").await;
    assert_eq!(f.first_text(), "four");
}

#[tokio::test]
async fn symlinks_are_followed_wherever_they_turn() {
    // d -> far/link, far/link -> v1; the last one is swapped, then the first.
    let mut f = Fixture::new("d", |root| {
        directory(root, "far/v1", "one");
        directory(root, "far/v2", "two");
        directory(root, "other", "three");
        symlink("v1", root.join("far/link")).unwrap();
        symlink("far/link", root.join("d")).unwrap();
    });
    let swap = |f: &Fixture, target: &str, link: &str| {
        symlink(target, f.path("next")).unwrap();
        fs::rename(f.path("next"), f.path(link)).unwrap();
    };
    assert_eq!(f.first_text(), "one");
    swap(&f, "v2", "far/link");
    f.wakes("the inner link").await;
    assert_eq!(f.first_text(), "two");
    fs::write(f.path("far/v2/a.yaml"), "two again").unwrap();
    f.wakes("behind both links").await;
    swap(&f, "other", "d");
    f.wakes("the outer link").await;
    assert_eq!(f.first_text(), "three");
    swap(&f, "../x/./d", "d");
    f.wakes("a link to nowhere").await;
    assert!(f.source.read().is_err());
    swap(&f, "d", "d");
    f.wakes("a link to itself").await;
    assert!(f.source.read().is_err());
}

#[tokio::test]
async fn a_config_map_as_kubernetes_mounts_it_is_one_change() {
    let mut f = Fixture::new("cm", |root| {
        directory(root, "cm/..v1", "one");
        symlink("..v1", root.join("cm/..data")).unwrap();
        symlink("..data/a.yaml", root.join("cm/a.yaml")).unwrap();
    });
    for (version, text) in [("..v2", "two"), ("..v3", "three")] {
        let cm = f.path("cm");
        directory(&cm, version, text);
        symlink(version, cm.join("..data_tmp")).unwrap();
        fs::rename(cm.join("..data_tmp"), cm.join("..data")).unwrap();
        f.wakes(version).await;
        assert_eq!(f.texts(), [("a.yaml".to_owned(), text.to_owned())]);
    }
}

#[tokio::test]
async fn one_file_alone_is_watched() {
    let mut f = Fixture::new("pools.txt", |root| fs::write(root.join("pools.txt"), "one").unwrap());
    fs::write(f.path("pools.txt"), "two").unwrap();
    f.wakes("written").await;
    assert_eq!(f.first_text(), "two");
    fs::write(f.path("other.yaml"), "x").unwrap();
    f.sleeps("another file").await;
    fs::remove_file(f.path("pools.txt")).unwrap();
    f.wakes("deleted").await;
    assert!(f.source.read().is_err());
}

#[tokio::test]
async fn a_change_survives_a_dropped_future() {
    let mut f = Fixture::new("d", |root| directory(root, "d", "one"));
    fs::write(f.path("d/a.yaml"), "two").unwrap();
    // Long enough to see the event, too short to settle; both ends are harmless.
    for _ in 0..3 {
        let _ = timeout(Duration::from_millis(10), f.source.changed()).await;
    }
    f.wakes("seen by a future that is gone").await;
}

#[tokio::test]
async fn a_change_without_end_is_told_all_the_same() {
    let mut f = Fixture::new("d", |root| directory(root, "d", "one"));
    let (stop, path) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), f.path("d/a.yaml"));
    let stopped = stop.clone();
    let writer = thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            fs::write(&path, "again").unwrap();
        }
    });
    let woken = timeout(BOUND, f.source.changed()).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    assert!(woken.is_ok(), "no wake in a flood");
}

const POOL: &str = "apiVersion: nv-ipam.nvidia.com/v1alpha1
kind: IPPool
metadata: {name: pool1, namespace: dpf-operator-system}
spec: {subnet: 10.0.0.0/24, perNodeBlockSize: 8, gateway: 10.0.0.1}
";

#[tokio::test]
async fn a_file_half_written_is_told_apart_from_a_pool_that_is_gone() {
    let f = Fixture::new("d", |root| directory(root, "d", POOL));
    let node = "dpu-1".parse().unwrap();
    let whole = Word::of(&f.source.read().unwrap(), &node);
    assert!(whole.complete);
    assert!(whole.assignment.pools[0].slice.is_some(), "{:?}", whole.assignment);
    fs::write(f.path("d/a.yaml"), &POOL[..POOL.len() - 30]).unwrap();
    let half = Word::of(&f.source.read().unwrap(), &node);
    assert!(!half.complete);
    assert!(half.assignment.problems[0].object.contains("a.yaml"), "{:?}", half.assignment.problems);
    fs::write(f.path("d/a.yaml"), "").unwrap();
    let empty = Word::of(&f.source.read().unwrap(), &node);
    assert!(empty.complete && empty.assignment.pools.is_empty(), "a whole file that says nothing");
}
