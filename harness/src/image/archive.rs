//! The bytes of the archive: what `docker save` writes for an image of one layer.
//!
//! The layer comes first and is hashed as it passes, then the configuration, which holds the
//! layer's digest and whose own digest is the image's ID, then the manifest that joins the two.
//! Nothing depends on the clock, the user or the machine.

use std::{
    fmt,
    io::{self, Read, Seek, Write},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::elf::Platform;

/// The user that the program runs as: `nonroot`, by the number that others use for it too, so that
/// `runAsNonRoot` can be verified.
const USER: &str = "65532:65532";
const PASSWD: &str =
    "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
/// Names from /etc/hosts before those from the DNS.
const NSSWITCH: &str = "hosts: files dns\n";
/// The program is the only one.
const PROGRAM: &str = "highwater";
const EPOCH: &str = "1970-01-01T00:00:00Z";
const LAYER: &str = "layer.tar";

/// What the image says of itself.
pub(super) struct Image<'a> {
    /// With host and tag.
    pub(super) name: &'a str,
    /// The name without its tag.
    pub(super) repository: &'a str,
    /// What the binary is for.
    pub(super) platform: Platform,
}

/// An image that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The image's ID: the digest of its configuration, as `crictl images` and `docker images`
    /// tell it.
    pub id: String,
    /// What it is for.
    pub platform: Platform,
    /// The archive's length.
    pub bytes: u64,
}

/// A digest as images spell it: `sha256:` and 64 hexadecimal digits.
struct Sha(Vec<u8>);

impl Sha {
    fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

/// Writes the archive. `binary` is read once, exactly `length` bytes, in small pieces.
///
/// # Errors
/// If reading or writing fails, or the binary is shorter than `length`.
pub(super) fn write(
    out: &mut (impl Write + Seek),
    image: &Image<'_>,
    binary: &mut impl Read,
    length: u64,
) -> io::Result<Written> {
    let mut archive = tar::Builder::new(out);
    let layer = layer(&mut archive, binary, length)?;
    let config = line(&config(image, &layer));
    let id = Sha(Sha256::digest(&config).to_vec());
    let config_name = format!("{}.json", id.hex());
    file(&mut archive, &config_name, 0o644, &config)?;
    let manifest = json!([{"Config": config_name, "RepoTags": [image.name], "Layers": [LAYER]}]);
    file(&mut archive, "manifest.json", 0o644, &line(&manifest))?;
    let out = archive.into_inner()?;
    Ok(Written { id: id.to_string(), platform: image.platform, bytes: out.stream_position()? })
}

/// Adds the layer; its digest.
fn layer(
    archive: &mut tar::Builder<impl Write + Seek>,
    binary: &mut impl Read,
    length: u64,
) -> io::Result<Sha> {
    let mut header = header(tar::EntryType::Regular, 0o644);
    let mut entry = archive.append_writer(&mut header, LAYER)?;
    let mut hashed = Hashed { hash: Sha256::new(), out: &mut entry };
    tree(&mut hashed, binary, length)?;
    let layer = Sha(hashed.hash.finalize().to_vec());
    entry.finish()?;
    Ok(layer)
}

/// The image's files, sorted by path.
fn tree(out: impl Write, binary: &mut impl Read, length: u64) -> io::Result<()> {
    let mut tar = tar::Builder::new(out);
    folder(&mut tar, "etc/", 0o755)?;
    file(&mut tar, "etc/group", 0o644, GROUP.as_bytes())?;
    file(&mut tar, "etc/nsswitch.conf", 0o644, NSSWITCH.as_bytes())?;
    file(&mut tar, "etc/passwd", 0o644, PASSWD.as_bytes())?;
    let mut program = header(tar::EntryType::Regular, 0o755);
    program.set_size(length);
    tar.append_data(&mut program, PROGRAM, Exactly { left: length, inner: binary })?;
    folder(&mut tar, "tmp/", 0o1777)?;
    tar.finish()
}

fn config(image: &Image<'_>, layer: &Sha) -> Value {
    json!({
        "architecture": image.platform.architecture,
        "config": {
            "Entrypoint": [format!("/{PROGRAM}")],
            "Env": ["PATH=/"],
            "Labels": {"org.opencontainers.image.title": image.repository},
            "User": USER,
            "WorkingDir": "/",
        },
        "created": EPOCH,
        "history": [{"created": EPOCH, "created_by": "highwater image"}],
        "os": "linux",
        "rootfs": {"diff_ids": [layer.to_string()], "type": "layers"},
    })
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

/// Root's, at the beginning of time.
fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn folder(tar: &mut tar::Builder<impl Write>, path: &str, mode: u32) -> io::Result<()> {
    tar.append_data(&mut header(tar::EntryType::Directory, mode), path, io::empty())
}

fn file(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = header(tar::EntryType::Regular, mode);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
}

/// Hashes all that passes.
struct Hashed<W> {
    hash: Sha256,
    out: W,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads as many bytes as were announced: a file that grows is cut, one that shrinks is an error,
/// since the archive's headers are written by then.
struct Exactly<R> {
    left: u64,
    inner: R,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let room = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut bytes[..room])?;
        if read == 0 && room > 0 {
            let shrunk = "the binary became shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, shrunk));
        }
        self.left -= read as u64;
        Ok(read)
    }
}
