//! Golden files, for tests.

use std::{fs, path::PathBuf};

/// Compares with a file under `tests/golden/FOLDER`; `UPDATE_GOLDEN=1` writes it.
///
/// *Panics* if it differs or is not there.
pub(crate) fn same(folder: &str, name: &str, found: &str) {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = golden.join(folder).join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let folder = path.parent().expect("it has one");
        fs::create_dir_all(folder).expect("the folder can be made");
        fs::write(&path, found).expect("the file can be written");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; make it with UPDATE_GOLDEN=1", path.display())
    });
    if expected != found {
        let line = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
        panic!("{name} differs from line {line:?} on; if that is right, UPDATE_GOLDEN=1");
    }
}
