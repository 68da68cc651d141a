//! Images from hand-made programs: what is refused, and that the archive is what it says.

mod binaries;
mod program;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
};

use object::elf::{EM_AARCH64, PT_INTERP, PT_LOAD};
use program::Program;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;

/// A folder with a static program in it, and arguments to make an image of that.
struct Lab {
    folder: tempfile::TempDir,
    args: Args,
}

impl Lab {
    fn new() -> Self {
        Self::with(&Program::fixed().little())
    }

    fn with(program: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let binary = folder.path().join("program");
        fs::write(&binary, program).expect("written");
        let args = Args {
            binary: Some(binary),
            name: default_name(),
            out: folder.path().join("image.tar"),
        };
        Self { folder, args }
    }

    /// The names in the folder, sorted.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).expect("read");
        let mut names: Vec<String> = names
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }
}

/// One entry of a tar.
#[derive(Debug, PartialEq)]
struct Entry {
    path: String,
    mode: u32,
    kind: tar::EntryType,
    content: Vec<u8>,
}

/// All entries, in order; owner and time are checked here.
fn entries(tar: impl Read) -> Vec<Entry> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let header = entry.header();
            let owner = (header.uid().expect("uid"), header.gid().expect("gid"));
            assert_eq!(
                (owner, header.mtime().expect("mtime")),
                ((0, 0), 0),
                "root's, at the epoch"
            );
            let (mode, kind) = (header.mode().expect("mode"), header.entry_type());
            let path = entry.path().expect("a path").to_str().expect("UTF-8").to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("read");
            Entry { path, mode, kind, content }
        })
        .collect()
}

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the archive as an importer does: manifest, then configuration, then layer. Every digest
/// is checked. The configuration and the layer's entries.
fn import(archive: &Path) -> (Value, Vec<Entry>) {
    let files = entries(fs::File::open(archive).expect("there"));
    let files: BTreeMap<String, Vec<u8>> =
        files.into_iter().map(|entry| (entry.path, entry.content)).collect();
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).expect("JSON");
    assert_eq!(manifest.as_array().map(Vec::len), Some(1));
    assert_eq!(manifest[0]["RepoTags"], json!([default_name()]));
    let config_name = manifest[0]["Config"].as_str().expect("a name");
    let config_bytes = &files[config_name];
    assert_eq!(config_name, format!("{}.json", sha(config_bytes)), "named by its digest");
    let config: Value = serde_json::from_slice(config_bytes).expect("JSON");
    let layers = manifest[0]["Layers"].as_array().expect("layers");
    let [Value::String(layer)] = layers.as_slice() else { panic!("one layer") };
    let digest = format!("sha256:{}", sha(&files[layer]));
    assert_eq!(config["rootfs"], json!({"type": "layers", "diff_ids": [digest]}));
    assert_eq!(files.len(), 3, "nothing else");
    (config, entries(Cursor::new(&files[layer])))
}

#[test]
fn the_archive_can_be_imported_and_holds_what_it_says() {
    let program = Program::fixed().of(EM_AARCH64).little();
    let lab = Lab::with(&program);
    let written = write(&lab.args).expect("written");
    let (config, tree) = import(&lab.args.out);
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!("arm64")));
    assert_eq!(config["config"]["Entrypoint"], json!(["/highwater"]));
    assert_eq!(config["config"]["User"], json!("65532:65532"));
    let tree: Vec<(&str, u32, usize)> =
        tree.iter().map(|entry| (&*entry.path, entry.mode, entry.content.len())).collect();
    let [group, nsswitch, passwd] = [&tree[1], &tree[2], &tree[3]].map(|entry| entry.2);
    let expected = [
        ("etc/", 0o755, 0),
        ("etc/group", 0o644, group),
        ("etc/nsswitch.conf", 0o644, nsswitch),
        ("etc/passwd", 0o644, passwd),
        ("highwater", 0o755, program.len()),
        ("tmp/", 0o1777, 0),
    ];
    assert_eq!(tree, expected);
    assert_eq!(written.bytes, fs::metadata(&lab.args.out).expect("there").len());
    assert_eq!(lab.files(), ["image.tar", "program"], "no temporary file is left");
}

#[test]
fn the_program_arrives_byte_for_byte_whatever_its_length() {
    // Around the blocks of a tar, and beyond every buffer.
    for more in [0, 1, 511, 512, 513, 3 * BUFFER_BYTES + 7] {
        let code: Vec<u8> = (0..more).map(|n| (n % 251) as u8).collect();
        let program = Program::fixed().with(PT_LOAD, &code).little();
        let lab = Lab::with(&program);
        write(&lab.args).expect("written");
        let (_, tree) = import(&lab.args.out);
        assert!(tree[4].content == program, "with {more} bytes of code");
    }
}

#[test]
fn the_user_of_the_image_is_in_its_passwd_and_group() {
    let lab = Lab::new();
    write(&lab.args).expect("written");
    let (config, tree) = import(&lab.args.out);
    let file = |path: &str| {
        let entry = tree.iter().find(|entry| entry.path == path).expect(path);
        String::from_utf8(entry.content.clone()).expect("text")
    };
    let user = config["config"]["User"].as_str().expect("a user");
    assert!(file("etc/passwd").contains(&format!("\nnonroot:x:{user}:")));
    assert!(
        file("etc/group")
            .contains(&format!("\nnonroot:x:{}:", user.split(':').next_back().expect("gid")))
    );
}

#[test]
fn equal_binaries_and_names_give_equal_bytes() {
    let (one, two) = (Lab::new(), Lab::new());
    let binary = two.args.binary.as_ref().expect("a path");
    let file = fs::File::options().write(true).open(binary).expect("opened");
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(77)).expect("set");
    let ids = [&one, &two].map(|lab| write(&lab.args).expect("written").id);
    let bytes = [&one, &two].map(|lab| fs::read(&lab.args.out).expect("read"));
    assert!(bytes[0] == bytes[1]);
    assert_eq!(ids[0], ids[1]);
    let mut other = Lab::with(&Program::fixed().with(PT_LOAD, b"more").little());
    assert_ne!(write(&other.args).expect("written").id, ids[0], "other code, other image");
    other.args.binary = one.args.binary.clone();
    other.args.name = "a.test/other:1".to_owned();
    assert_ne!(write(&other.args).expect("written").id, ids[0], "the name is in the labels");
}

#[test]
fn what_is_refused_leaves_nothing_and_says_what_to_do() {
    let interpreter = Program::fixed().with(PT_INTERP, b"/lib/ld.so\0").little();
    let whole = Program::fixed().little();
    let cut = &whole[..whole.len() - 1];
    let binaries: [(&str, &[u8], &str); 4] = [
        ("a text file", b"not a program\n", "some other file"),
        ("an empty file", b"", "an empty file"),
        ("dynamically linked", &interpreter, "dynamically linked (loader /lib/ld.so)"),
        ("cut off", cut, "cut off"),
    ];
    for (what, bytes, expected) in binaries {
        let lab = Lab::with(bytes);
        let error = write(&lab.args).expect_err(what);
        assert!(matches!(error, ImageError::Binary { .. }), "{what}: {error}");
        assert_eq!(error.exit_code(), cli::BAD_INPUT);
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("+crt-static"), "{what}: {text}");
        assert_eq!(lab.files(), ["program"], "{what}");
    }
}

#[test]
fn bad_arguments_are_refused_by_kind() {
    let lab = Lab::new();
    let folder = lab.folder.path();
    fs::create_dir(folder.join("taken")).expect("made");
    let args = |change: &dyn Fn(&mut Args)| {
        let Args { binary, name, out } = &lab.args;
        let mut args = Args { binary: binary.clone(), name: name.clone(), out: out.clone() };
        change(&mut args);
        args
    };
    let binary = |path: PathBuf| args(&|args| args.binary = Some(path.clone()));
    let out = |path: PathBuf| args(&|args| args.out = path.clone());
    type IsIt = fn(&ImageError) -> bool;
    let rows: [(&str, Args, IsIt); 6] = [
        ("a short name", args(&|args| args.name = "highwater:1".to_owned()), |error| {
            matches!(error, ImageError::Name { fault: NameFault::NoHost, .. })
        }),
        ("no binary", binary(folder.join("none")), |error| {
            matches!(error, ImageError::Read { source, .. }
                if source.kind() == io::ErrorKind::NotFound)
        }),
        ("a folder as binary", binary(folder.to_owned()), |error| {
            matches!(error, ImageError::Binary { fault: Unfit::NotAFile, .. })
        }),
        ("a folder that is not there", out(folder.join("no/image.tar")), |error| {
            matches!(error, ImageError::Make { source, .. }
                if source.kind() == io::ErrorKind::NotFound)
        }),
        ("a file as folder", out(folder.join("program/image.tar")), |error| {
            matches!(error, ImageError::Make { source, .. }
                if source.kind() == io::ErrorKind::NotADirectory)
        }),
        ("a folder in its place", out(folder.join("taken")), |error| {
            matches!(error, ImageError::Taken { .. })
        }),
    ];
    for (what, args, is_it) in rows {
        let error = write(&args).expect_err(what);
        assert!(is_it(&error), "{what}: {error:?}");
        assert_eq!(error.exit_code(), cli::BAD_INPUT, "{what}");
        assert_eq!(lab.files(), ["program", "taken"], "{what}");
    }
}

#[test]
fn an_archive_that_is_there_is_replaced_as_a_whole_or_not_at_all() {
    let lab = Lab::new();
    fs::write(&lab.args.out, "an old archive").expect("written");
    let refused = Args {
        binary: Some(lab.args.out.clone()),
        name: default_name(),
        out: lab.args.out.clone(),
    };
    write(&refused).expect_err("no binary");
    assert_eq!(fs::read(&lab.args.out).expect("read"), b"an old archive");
    write(&lab.args).expect("written");
    import(&lab.args.out);
}

#[cfg(unix)]
#[test]
fn devices_and_links_are_not_replaced() {
    let mut lab = Lab::new();
    lab.args.out = lab.folder.path().join("null");
    std::os::unix::fs::symlink("/dev/null", &lab.args.out).expect("made");
    let error = write(&lab.args).expect_err("refused");
    assert!(matches!(error, ImageError::Taken { .. }), "{error}");
}

/// Takes so many bytes, then is full.
struct Full {
    room: u64,
    out: Cursor<Vec<u8>>,
}

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.out.position() + bytes.len() as u64 > self.room {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => self.out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Seek for Full {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.out.seek(to)
    }
}

#[test]
fn a_disk_that_fills_up_and_a_binary_that_shrinks_are_errors() {
    let platform = elf::examine(Cursor::new(Program::fixed().little())).expect("fits");
    let image = archive::Image { name: "a.test/b:1", repository: "a.test/b", platform };
    let attempt = |room, length| {
        let mut out = Full { room, out: Cursor::default() };
        archive::write(&mut out, &image, &mut &[7u8; 600][..], length)
    };
    let needed = attempt(u64::MAX, 600).expect("written").bytes;
    attempt(needed, 600).expect("just enough room");
    for room in (0..needed).step_by(100) {
        let error = attempt(room, 600).expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "room for {room} of {needed} bytes");
    }
    let error = attempt(u64::MAX, 601).expect_err("too short");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let grown = attempt(u64::MAX, 599).expect("what was there at first");
    assert_eq!(grown.bytes, needed);
}
