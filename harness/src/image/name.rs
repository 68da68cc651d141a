//! Names of images that mean the same to Docker, containerd and the kubelet.

/// The longest tag, in bytes. Source: OCI distribution specification 1.1, "Pulling manifests".
const TAG_BYTES_MAX: usize = 128;
/// The longest host and path together, in bytes. Source: as above; clients impose it.
const REPOSITORY_BYTES_MAX: usize = 255;

/// What is wrong with an image's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// No registry's host in front.
    #[error("there is no registry's host (with a dot or a port) in front")]
    NoHost,
    /// No tag behind.
    #[error("there is no tag")]
    NoTag,
    /// A digest, which an archive cannot promise.
    #[error("a digest cannot be chosen")]
    Digest,
    /// A host with a character that hosts do not have.
    #[error("the host is not one")]
    Host,
    /// A path that is empty or has forbidden characters.
    #[error("the path must be lower-case words with '.', '_', '__' or '-' between them")]
    Path,
    /// A tag that is too long or has forbidden characters.
    #[error(
        "the tag must be at most 128 letters, digits, '_', '.' or '-', the first no '.' or '-'"
    )]
    Tag,
    /// Host and path are too long.
    #[error("host and path are longer than 255 characters")]
    TooLong,
}

/// Checks a name like `highwater.test/highwater:0.1.0`; returns it without its tag.
///
/// Stricter than what registries take: host and tag must be there.
///
/// # Errors
/// The first fault that is found.
pub(super) fn check(name: &str) -> Result<&str, NameFault> {
    if name.contains('@') {
        return Err(NameFault::Digest);
    }
    let (host, rest) = name.split_once('/').ok_or(NameFault::NoHost)?;
    if !(host.contains(['.', ':']) || host == "localhost") {
        return Err(NameFault::NoHost);
    }
    let (path, tag) = rest.split_once(':').ok_or(NameFault::NoTag)?;
    if !is_host(host) {
        return Err(NameFault::Host);
    }
    if !path.split('/').all(is_component) {
        return Err(NameFault::Path);
    }
    if !is_tag(tag) {
        return Err(NameFault::Tag);
    }
    let repository = &name[..host.len() + 1 + path.len()];
    if repository.len() > REPOSITORY_BYTES_MAX {
        return Err(NameFault::TooLong);
    }
    Ok(repository)
}

/// `registry.example.com:5000`; addresses of IPv6 in brackets are not taken.
fn is_host(host: &str) -> bool {
    let (labels, port) =
        host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    labels.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// One part of a path: lower-case words with `.`, `_`, `__` or any number of `-` between them.
fn is_component(part: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes
            .split(is_word)
            .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|&b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_BYTES_MAX
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_name_is_one() {
        assert_eq!(check(&super::super::default_name()), Ok("highwater.test/highwater"));
    }

    #[test]
    fn names_that_mean_the_same_everywhere_are_taken_and_no_others() {
        let long = format!("a.test/{}:1", "x".repeat(300));
        let long_tag = format!("a.test/b:{}", "t".repeat(129));
        let rows: [(&str, Result<&str, NameFault>); 22] = [
            (
                "registry.example.com:5000/team/app:1.2-rc_3",
                Ok("registry.example.com:5000/team/app"),
            ),
            ("localhost/app:1", Ok("localhost/app")),
            ("a.test/b--c/d__e.f_g:_", Ok("a.test/b--c/d__e.f_g")),
            ("highwater:1", Err(NameFault::NoHost)),
            ("highwater/highwater:1", Err(NameFault::NoHost)),
            ("/highwater:1", Err(NameFault::NoHost)),
            ("", Err(NameFault::NoHost)),
            ("a.test/b", Err(NameFault::NoTag)),
            ("a.test:5000/b", Err(NameFault::NoTag)),
            ("a.test/b:1@sha256:00", Err(NameFault::Digest)),
            ("a..test/b:1", Err(NameFault::Host)),
            ("a.test:port/b:1", Err(NameFault::Host)),
            ("-a.test/b:1", Err(NameFault::Host)),
            ("a.test/B:1", Err(NameFault::Path)),
            ("a.test//b:1", Err(NameFault::Path)),
            ("a.test/:1", Err(NameFault::Path)),
            ("a.test/b___c:1", Err(NameFault::Path)),
            ("a.test/-b:1", Err(NameFault::Path)),
            ("a.test/b:", Err(NameFault::Tag)),
            ("a.test/b:1+2", Err(NameFault::Tag)),
            (&long_tag, Err(NameFault::Tag)),
            (&long, Err(NameFault::TooLong)),
        ];
        for (name, expected) in rows {
            assert_eq!(check(name), expected, "{name}");
        }
    }
}
