//! Keeps a sandbox's logs bounded: what a guest writes, or makes its engine write, must not fill the host's disk.
//!
//! Whoever writes to a log appends (`O_APPEND`) and knows nothing of this, so a log is cut in place: its last lines, which are
//! those that explain an end, move to its beginning. What is appended meanwhile moves with them, but for what comes between
//! the last look and the cut, a system call later. A crash in between leaves lines twice.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the logs are looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of a log above which it is cut.
const MAX_BYTES: u64 = 8 << 20;
/// Bytes that are left of it, and what is appended meanwhile.
const KEPT_BYTES: u64 = MAX_BYTES / 2;
/// How far the beginning of a line is looked for: in a longer one, the cut is within it.
const LINE_BYTES: usize = 64 << 10;

/// Cuts these logs whenever they are too long.
pub(super) async fn keep_bounded(logs: &[PathBuf]) -> Infallible {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for log in logs {
            if std::fs::metadata(log).is_ok_and(|metadata| metadata.len() > MAX_BYTES) {
                // One that cannot be cut now is looked at again.
                cut(log, KEPT_BYTES).ok();
            }
        }
    }
}

/// Leaves the last `kept` bytes of a log, from a line's beginning on.
fn cut(log: &Path, kept: u64) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(log)?;
    let length = file.metadata()?.len();
    let start = line_start(&file, length.saturating_sub(kept))?;
    let mut buffer = vec![0; 1 << 20];
    let mut moved = 0;
    // To the end, wherever that is by then; but a writer that is faster than this is not followed for ever.
    while moved < length {
        let read = file.read_at(&mut buffer, start + moved)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        file.write_all_at(bytes, moved)?;
        moved += read as u64;
    }
    file.set_len(moved)
}

/// Where the first line begins at or after `offset`.
fn line_start(file: &File, offset: u64) -> io::Result<u64> {
    let Some(before) = offset.checked_sub(1) else { return Ok(0) };
    let mut buffer = vec![0; LINE_BYTES];
    let read = file.read_at(&mut buffer, before)?;
    let end = buffer.iter().take(read).position(|byte| *byte == b'\n');
    Ok(end.map_or(offset, |end| offset + end as u64))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_lines_stay_and_the_writer_goes_on_after_them() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut writer = File::options().append(true).create(true).open(&log).unwrap();
        let mut lines = String::new();
        for number in 0..300_000 {
            writeln!(lines, "line {number}").unwrap();
        }
        writer.write_all(lines.as_bytes()).unwrap();
        for kept in [2 << 20, 100_000, 7] {
            cut(&log, kept).unwrap();
            let line = format!("after {kept}\n");
            writer.write_all(line.as_bytes()).unwrap();
            lines.push_str(&line);
            let left = fs::read_to_string(&log).unwrap();
            assert!(lines.ends_with(&left), "{kept}: {} bytes", left.len());
            assert!(lines[..lines.len() - left.len()].ends_with('\n'), "{kept}: within a line");
            let expected = usize::try_from(kept).unwrap() + line.len();
            assert!(
                (expected.saturating_sub(20)..=expected).contains(&left.len()),
                "{kept}: {} bytes",
                left.len()
            );
        }
    }

    #[test]
    fn lines_do_not_vanish_while_they_are_moved() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut writer = File::options().append(true).create(true).open(&log).unwrap();
        writer.write_all(&b"an old line\n".repeat(400_000)).unwrap();
        std::thread::scope(|scope| {
            let cutting = scope.spawn(|| cut(&log, 2 << 20));
            for _ in 0..1000 {
                writer.write_all(b"a new line\n").unwrap();
            }
            cutting.join().unwrap().unwrap();
        });
        writer.write_all(b"the end\n").unwrap();
        let left = fs::read_to_string(&log).unwrap();
        assert!(left.ends_with("\nthe end\n") && !left.contains('\0'));
        assert!(left.starts_with("an old line\n"));
    }

    #[test]
    fn a_line_without_end_is_cut_within() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, vec![b'x'; 1 << 20]).unwrap();
        cut(&log, 1000).unwrap();
        assert_eq!(fs::read(&log).unwrap(), vec![b'x'; 1000]);
    }
}
