//! What some text directives accept; the texts of the errors are Redis's.

type Verdict = Result<(), &'static str>;

fn is_base_name(name: &[u8]) -> bool {
    !name.contains(&b'/') && !name.contains(&b'\\')
}

/// `dbfilename`
pub(super) fn file_name(name: &[u8]) -> Verdict {
    is_base_name(name)
        .then_some(())
        .ok_or("dbfilename can't be a path, just a filename")
}

/// `appendfilename`
pub(super) fn append_file_name(name: &[u8]) -> Verdict {
    if name.is_empty() {
        return Err("appendfilename can't be empty");
    }
    is_base_name(name)
        .then_some(())
        .ok_or("appendfilename can't be a path, just a filename")
}

/// `appenddirname`
pub(super) fn append_dir_name(name: &[u8]) -> Verdict {
    if name.is_empty() {
        return Err("appenddirname can't be empty");
    }
    is_base_name(name)
        .then_some(())
        .ok_or("appenddirname can't be a path, just a dirname")
}

/// `cluster-announce-hostname`
pub(super) fn announced_host(name: &[u8]) -> Verdict {
    if name.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    name.iter()
        .all(fits)
        .then_some(())
        .ok_or("Hostnames may only contain alphanumeric characters, hyphens or dots")
}

/// `cluster-announce-human-nodename`
pub(super) fn announced_name(name: &[u8]) -> Verdict {
    // These would have to be quoted in nodes.conf.
    let bad = |byte: &u8| b"!#$%&()*+:;<>?@[]^{|}~".contains(byte);
    (!name.iter().any(bad))
        .then_some(())
        .ok_or("Announced human node name contained invalid character")
}

/// `proc-title-template`
pub(super) fn title_template(template: &[u8]) -> Verdict {
    const BAD: Verdict = Err("template format is invalid or contains unknown variables");
    const VARIABLES: [&[u8]; 7] = [
        b"title",
        b"listen-addr",
        b"server-mode",
        b"port",
        b"tls-port",
        b"unixsocket",
        b"config-file",
    ];
    if template.is_empty() {
        return BAD;
    }
    let mut rest = template;
    while let Some(open) = rest.iter().position(|byte| *byte == b'{') {
        let Some(close) = rest
            .iter()
            .position(|byte| *byte == b'}')
            .filter(|close| *close > open)
        else {
            return BAD;
        };
        if !VARIABLES.contains(&&rest[open + 1..close]) {
            return BAD;
        }
        rest = &rest[close + 1..];
    }
    Ok(())
}

/// `locale-collate`
pub(super) fn locale(name: &[u8]) -> Verdict {
    let known: [&[u8]; 6] = [b"", b"C", b"POSIX", b"C.UTF-8", b"C.utf8", b"en_US.UTF-8"];
    known
        .contains(&name)
        .then_some(())
        .ok_or("Invalid locale name")
}
