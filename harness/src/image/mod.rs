//! `highwater image`: one static binary as a container image, without Docker.
//!
//! The archive is what `docker save` writes for an image of one layer. `kind load image-archive`
//! and `ctr -n k8s.io images import` take it as it is.
//!
//! `name` checks the image's name, `elf` the binary, `archive` writes; this file joins them.
//! Equal binaries and names give equal bytes.

mod archive;
mod elf;
mod name;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, BufWriter, Seek as _, Write as _},
    path::{Path, PathBuf},
};

pub use archive::Written;
pub use elf::{Platform, Unfit};
pub use name::NameFault;

use crate::cli;

/// Where the archive is written if nothing else is said.
pub const DEFAULT_OUT: &str = "highwater-image.tar";
/// Buffered bytes of the archive: the binary passes through in few writes.
const BUFFER_BYTES: usize = 1 << 18;

/// The name of the image of this version.
///
/// It names a host, so that Docker, containerd and the kubelet take it for the same image (a short
/// name would become `docker.io/library/...` in some places and stay in others), and a version, so
/// that the kubelet's default is `imagePullPolicy: IfNotPresent` (for `latest` it is `Always`). The
/// host is under `.test`, which RFC 2606 keeps out of the real DNS: a missing image is never
/// fetched from somebody else.
pub fn default_name() -> String {
    // `+` of a build's metadata is not allowed in a tag.
    format!("highwater.test/highwater:{}", env!("CARGO_PKG_VERSION").replace('+', "-"))
}

/// What to write.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The program to put in: a statically linked Linux binary [default: the running one]
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
    /// The image's name, with a registry's host and a tag
    #[arg(long, default_value_t = default_name())]
    pub name: String,
    /// Where to write the archive; replaced if it exists
    #[arg(long, value_name = "FILE", default_value = DEFAULT_OUT)]
    pub out: PathBuf,
}

/// Why no image was written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The name would not mean the same everywhere.
    #[error("--name {name}: {fault}; a name like {} is needed", default_name())]
    Name {
        /// As it was given.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// The binary cannot be found or read.
    #[error("reading the binary {}: {source}", path.display())]
    Read {
        /// The binary.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The binary cannot run in an image that holds nothing else.
    #[error("{} cannot be an image: {fault}\n{}", path.display(), fault.advice())]
    Binary {
        /// The binary.
        path: PathBuf,
        /// What is wrong with it.
        fault: Unfit,
    },
    /// The place of the archive is taken by something that is no file.
    #[error("--out {}: there is something that is not a plain file", path.display())]
    Taken {
        /// The archive.
        path: PathBuf,
    },
    /// The archive cannot be made or put in its place.
    #[error("making {}: {source}", path.display())]
    Make {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing broke off; nothing is left behind.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    /// The exit code: bad input, or not carried out.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Name { .. }
            | Self::Read { .. }
            | Self::Binary { .. }
            | Self::Taken { .. }
            | Self::Make { .. } => cli::BAD_INPUT,
            Self::Write { .. } => cli::NOT_CARRIED_OUT,
        }
    }
}

/// Writes the image and says what to do with it; the exit code.
pub fn main(args: &Args) -> u8 {
    match write(args) {
        Ok(written) => {
            // A reader that went away is no error.
            let _ = io::stdout().lock().write_all(told(args, &written).as_bytes());
            cli::MET
        }
        Err(error) => {
            cli::complain(&error);
            error.exit_code()
        }
    }
}

/// Writes the image: first under a temporary name beside `args.out`, so that no half of an archive
/// is ever found there.
///
/// # Errors
/// See [`ImageError`]. Whatever was at `args.out` is then untouched.
pub fn write(args: &Args) -> Result<Written, ImageError> {
    let path = &args.out;
    let repository = name::check(&args.name)
        .map_err(|fault| ImageError::Name { name: args.name.clone(), fault })?;
    let mut binary = Binary::open(args.binary.as_deref())?;
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(ImageError::Taken { path: path.clone() });
    }
    let make = |source| ImageError::Make { path: path.clone(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut unfinished = tempfile::Builder::new();
    #[cfg(unix)]
    unfinished.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let unfinished = unfinished.tempfile_in(folder.unwrap_or(Path::new("."))).map_err(make)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, unfinished);
    let image = archive::Image { name: &args.name, repository, platform: binary.platform };
    let written = archive::write(&mut out, &image, &mut binary.file, binary.length)
        .and_then(|written| Ok((written, out.into_inner()?)));
    let (written, unfinished) =
        written.map_err(|source| ImageError::Write { path: path.clone(), source })?;
    unfinished.persist(path).map_err(|error| make(error.error))?;
    Ok(written)
}

/// A binary that fits.
struct Binary {
    file: fs::File,
    length: u64,
    platform: Platform,
}

impl Binary {
    fn open(path: Option<&Path>) -> Result<Self, ImageError> {
        let running = Path::new("the running program");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ImageError::Read { path, source }
        };
        let path = match path {
            Some(path) => path.to_owned(),
            None => std::env::current_exe().map_err(failed(running))?,
        };
        // Asked before it is opened: opening a named pipe would wait for its other end.
        if !fs::metadata(&path).map_err(failed(&path))?.is_file() {
            return Err(ImageError::Binary { path, fault: Unfit::NotAFile });
        }
        let mut file = fs::File::open(&path).map_err(failed(&path))?;
        let length = file.metadata().map_err(failed(&path))?.len();
        let platform = match elf::examine(&mut file) {
            Ok(platform) => platform,
            Err(fault) => return Err(ImageError::Binary { path, fault }),
        };
        file.rewind().map_err(failed(&path))?;
        Ok(Self { file, length, platform })
    }
}

/// What is printed of an image that was written.
fn told(args: &Args, written: &Written) -> String {
    let Written { id, platform, bytes } = written;
    let (name, out) = (&args.name, args.out.display());
    let megabytes = *bytes as f64 / 1e6;
    format!(
        "{name}\n\
         {out}: {megabytes:.1} MB, {platform}, image ID {id}\n\
         next  kind load image-archive {out} --name highwater\n\
         or    ctr -n k8s.io images import {out}\n"
    )
}
