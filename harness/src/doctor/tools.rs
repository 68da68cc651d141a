//! Programs that only cluster runs need. Whether they are there is told, never required.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::Check;

pub(super) fn examine() -> Vec<Check> {
    let path = env::var_os("PATH").unwrap_or_default();
    ["kubectl", "kind"].map(|tool| tool_check(tool, find(tool, &path).as_deref())).into()
}

/// The first file of that name in the folders of `path`. It is not run.
fn find(tool: &str, path: &OsStr) -> Option<PathBuf> {
    let name = format!("{tool}{}", env::consts::EXE_SUFFIX);
    env::split_paths(path).map(|folder| folder.join(&name)).find(|file| file.is_file())
}

fn tool_check(tool: &'static str, found: Option<&Path>) -> Check {
    Check::ok(
        tool,
        found.map_or_else(
            || "not found; only needed for runs in a cluster".to_owned(),
            |file| file.display().to_string(),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_where_the_shell_would_find_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(format!("kind{}", env::consts::EXE_SUFFIX));
        std::fs::write(&file, "").expect("written");
        let path = env::join_paths([Path::new("/no/such"), folder.path()]).expect("a path");
        assert_eq!(find("kind", &path), Some(file));
        assert_eq!(find("kubectl", &path), None);
        assert_eq!(find("kind", OsStr::new("")), None);
    }
}
