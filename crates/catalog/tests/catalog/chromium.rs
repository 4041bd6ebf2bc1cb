//! A real browser, if there is one: it opens a page from a file and tells what became of it.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a page may take, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Debian's chromium.
pub(crate) struct Chromium {
    folder: TempDir,
}

/// What became of a page.
pub(crate) struct Seen {
    /// The document when it had been loaded and its script had run.
    pub(crate) dom: String,
    log: String,
}

impl Seen {
    pub(crate) fn title(&self) -> &str {
        let (_, rest) = self.dom.split_once("<title>").unwrap();
        rest.split_once("</title>").unwrap().0
    }

    /// What the console said: errors of the script, and what the policy refused.
    pub(crate) fn errors(&self) -> Vec<&str> {
        self.log.lines().filter(|line| line.contains("CONSOLE")).collect()
    }
}

impl Chromium {
    /// None if there is no chromium here, which is said.
    pub(crate) fn for_test(test: &str) -> Option<Self> {
        let found =
            Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_ok_and(|status| status.success()) {
            return Some(Self { folder: tempfile::tempdir().unwrap() });
        }
        println!("skipped: {test}: no chromium here");
        None
    }

    /// Opens a page at `fragment`, and gives the document when its script has run.
    pub(crate) fn open(&self, html: &str, fragment: &str) -> Seen {
        self.run(&["--dump-dom", &self.page(html, fragment)])
    }

    /// Opens a page in a frame of `width` pixels, with scripts or without, and gives what the expression `question`,
    /// asked from outside, finds in its `root` element.
    ///
    /// The page's policy allows no script but its own, so whoever asks is a page around it. Windows have a least
    /// width, frames have none.
    pub(crate) fn ask(&self, html: &str, width: u32, scripts: bool, question: &str) -> String {
        let sandbox = if scripts { "" } else { "sandbox=allow-same-origin" };
        let inner = self.page(html, "");
        let outer = format!(
            "<!doctype html><iframe id=f width={width} height=800 style=border:0 {sandbox} src=\"{inner}\"></iframe>
             <pre id=answer></pre>
             <script>onload = () => {{
                const root = f.contentDocument.documentElement;
                answer.textContent = {question};
             }}</script>"
        );
        let seen = self.run(&["--dump-dom", "--allow-file-access-from-files", &self.page(&outer, "")]);
        let answer = seen.dom.split_once("<pre id=\"answer\">").unwrap().1.split_once("</pre>").unwrap().0;
        assert_ne!(answer, "", "{}", seen.log);
        answer.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&")
    }

    /// Writes what a window of that size shows to a PNG.
    pub(crate) fn picture(
        &self,
        html: &str,
        fragment: &str,
        (width, height): (u32, u32),
        dark: bool,
    ) -> Vec<u8> {
        let (url, path) = (self.page(html, fragment), self.folder.path().join("picture.png"));
        let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
        let picture = format!("--screenshot={}", path.display());
        self.run(&[&picture, &format!("--window-size={width},{height}"), &scheme, &url]);
        fs::read(path).unwrap()
    }

    fn page(&self, html: &str, fragment: &str) -> String {
        let name = format::Digest::of(html.as_bytes()).hex();
        let path: PathBuf = self.folder.path().join(format!("{name}.html"));
        fs::write(&path, html).unwrap();
        format!("file://{}{fragment}", path.display())
    }

    fn run(&self, args: &[&str]) -> Seen {
        let profile = tempfile::tempdir_in(self.folder.path()).unwrap();
        // A shared machine has little of /dev/shm; as root there is no sandbox to be had.
        let mut child = Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-extensions", "--disable-background-networking"])
            .args(["--enable-logging=stderr", "--virtual-time-budget=2000", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let read = |mut stream: Box<dyn Read + Send>| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let (out, err) =
            (read(Box::new(child.stdout.take().unwrap())), read(Box::new(child.stderr.take().unwrap())));
        let start = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > DEADLINE => {
                    child.kill().unwrap();
                    break child.wait().unwrap();
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        let (dom, log) = (out.join().unwrap(), err.join().unwrap());
        assert!(status.success(), "chromium {args:?}: {status}: {log}");
        Seen { dom, log }
    }
}
