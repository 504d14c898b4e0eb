//! Files: whole or not at all, whatever happens while they are written.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use wgpu_optim::{Adam, CpuOptimizer, Error};

/// A folder of this test's own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgpu-optim-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("readable");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn optimizer(elements: usize) -> CpuOptimizer<f32> {
    CpuOptimizer::builder().group(Adam::default(), [("w", elements)]).build().expect("built")
}

#[test]
fn a_file_is_what_bytes_are() {
    let folder = Folder::new("same");
    let path = folder.0.join("run.safetensors");
    let mut optimizer = optimizer(1000);
    let bytes = optimizer.save().bytes().expect("saved");
    let written = optimizer.save().file(&path).expect("saved");
    assert_eq!(written, bytes.len() as u64);
    assert_eq!(std::fs::read(&path).expect("readable"), bytes);
    assert_eq!(folder.files(), ["run.safetensors"]);
    optimizer.load().file(&path).expect("loaded");
    let missing = optimizer.load().file(folder.0.join("none")).expect_err("not there");
    assert!(matches!(missing, Error::File { .. }) && missing.to_string().contains("none"));
}

#[test]
fn what_cannot_be_written_is_said_and_leaves_nothing() {
    let folder = Folder::new("refused");
    let mut optimizer = optimizer(10);
    for (path, word) in [
        (folder.0.clone(), "a folder"),
        (folder.0.join("none/run.safetensors"), "No such file"),
        (PathBuf::from("/dev/full/x"), "Not a directory"),
    ] {
        let error = optimizer.save().file(&path).expect_err("not writable").to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(folder.files().is_empty());
    optimizer.step().expect("stepped");
}

#[cfg(unix)]
#[test]
fn a_file_keeps_its_mode_and_a_link_stays_one() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let (path, link) = (folder.0.join("run.safetensors"), folder.0.join("latest"));
    let mut optimizer = optimizer(10);
    optimizer.save().file(&path).expect("saved");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    optimizer.save().file(&link).expect("saved");
    assert!(link.symlink_metadata().expect("there").file_type().is_symlink());
    let mode = path.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

/// An error in the middle leaves the old file, and no other.
#[test]
fn a_save_that_fails_leaves_the_old_file() {
    let folder = Folder::new("fails");
    let path = folder.0.join("run.safetensors");
    let mut optimizer = optimizer(100_000);
    optimizer.save().file(&path).expect("saved");
    let old = std::fs::read(&path).expect("readable");
    let gone = std::panic::AssertUnwindSafe(|| {
        let stops = |done: u64, _| assert!(done < 100_000, "stopped on purpose");
        let _ = optimizer.save().chunk_bytes(1000).progress(stops).file(&path);
    });
    assert!(std::panic::catch_unwind(gone).is_err());
    assert_eq!(std::fs::read(&path).expect("readable"), old);
    assert_eq!(folder.files(), ["run.safetensors"]);
}

/// What [`killed_at_any_moment_a_whole_file_is_there`] runs in a process of its own: it saves again
/// and again, until it is killed.
const SAVER: &str = "WGPU_OPTIM_TEST_SAVER";

/// How often the saver is killed.
const KILLS: u32 = 200;

#[test]
fn killed_at_any_moment_a_whole_file_is_there() {
    if let Ok(path) = std::env::var(SAVER) {
        return save_for_ever(Path::new(&path));
    }
    let folder = Folder::new("killed");
    let path = folder.0.join("run.safetensors");
    optimizer(ELEMENTS).save().file(&path).expect("saved");
    let mut saves = 0;
    for number in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "checkpoints::files::killed_at_any_moment_a_whole_file_is_there"])
            .env(SAVER, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        std::thread::sleep(Duration::from_millis(5 + u64::from(number * 7 % 40)));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let mut reader = optimizer(ELEMENTS);
        let loaded = reader.load().file(&path).expect("a whole file");
        saves += loaded.user.get("save").map_or(0, |save| save.parse().expect("a number"));
        for name in folder.files() {
            if name.ends_with(".tmp") {
                std::fs::remove_file(folder.0.join(name)).expect("removed");
            }
        }
    }
    assert!(saves > 0, "no save came to its end before the process was killed");
}

/// A few megabytes, so that writing takes longer than starting.
const ELEMENTS: usize = 1 << 18;

fn save_for_ever(path: &Path) {
    let mut optimizer = optimizer(ELEMENTS);
    for number in 1.. {
        let number = format!("{number}");
        optimizer.save().user("save", number).chunk_bytes(1 << 16).file(path).expect("saved");
    }
}

/// Where the disk is full the old file stays. `/dev/full` is no folder, so a small file system of
/// its own is needed: it is tried where one can be mounted.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = Folder::new("full");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&folder.0)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("no file system can be mounted here: not tried");
        return;
    }
    let path = folder.0.join("run.safetensors");
    optimizer(10_000).save().file(&path).expect("saved");
    let old = std::fs::read(&path).expect("readable");
    let error = optimizer(1_000_000).save().file(&path).expect_err("no room").to_string();
    let (now, files) = (std::fs::read(&path).expect("readable"), folder.files());
    let unmounted = Command::new("umount").arg(&folder.0).status();
    assert!(error.contains("room"), "{error}");
    assert_eq!(now, old);
    assert_eq!(files, ["run.safetensors"]);
    assert!(unmounted.is_ok_and(|status| status.success()));
}
