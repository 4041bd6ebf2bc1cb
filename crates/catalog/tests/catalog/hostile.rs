//! What strangers write into snapshots is text on the page, and nothing else.

use catalog::{Heading, Listing, TEXT_CHARS, html, testing::SKETCH};
use format::Digest;
use hub::describe::Description;

use crate::chromium::Chromium;

/// The page of a snapshot that says `text` wherever it can say anything.
fn page_saying(text: &str) -> String {
    let mut made = SKETCH.describe();
    say(&mut made, text);
    let mut listing = Listing::default();
    listing.add_snapshot(&made).unwrap();
    let problem = Err(catalog::Text::problem(text));
    for (tag, leads_to) in [("1", Ok(made.digest)), ("2", problem)] {
        let (name, tag) = ("victim".parse().unwrap(), tag.parse().unwrap());
        listing.add_tag(&name, tag, Some(Digest::of(b"index")), [leads_to]).unwrap();
    }
    let heading = Heading::new(text, "/srv/it's \"<hub>\" & $(more)").unwrap();
    html(&listing.finish(&heading)).unwrap()
}

fn say(made: &mut Description, text: &str) {
    for value in made.manifest.annotations.values_mut() {
        *value = text.to_owned();
    }
    let provenance = &mut made.config.provenance;
    let recipe = provenance.recipe.as_mut().unwrap();
    (recipe.name, recipe.version) = (text.to_owned(), text.to_owned());
    provenance.packages.truncate(1);
    let package = &mut provenance.packages[0];
    (package.name, package.version, package.source) = (text.to_owned(), text.to_owned(), text.to_owned());
    package.licences = vec![text.to_owned()];
    provenance.tools = [(text.to_owned(), text.to_owned())].into();
    (provenance.kernel_version, provenance.agent_version) = (text.to_owned(), text.to_owned());
    provenance.created_at = text.to_owned();
}

const MARKUP: &[&str] = &[
    "<script>document.title='owned'</script>",
    "</style><script>document.title='owned'</script>",
    "\"><img src=x onerror=\"document.title='owned'\">",
    "' onmouseover='document.title=1' x='",
    "--><svg onload=document.title='owned'>",
    "javascript:document.title='owned'",
    "data:text/html,<script>alert(1)</script>",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt;&#x3c;script&#x3e;",
];

#[test]
fn markup_is_text() {
    let plain = page_saying("plain");
    for text in MARKUP {
        let page = page_saying(text);
        // Not one element, attribute, script or handler more than a page that says something harmless.
        for start in ["<script", "<img", "<svg", "<style", "<a ", " onerror", "javascript:", "data:"] {
            let count = |page: &str| {
                let tags = page.split('<').skip(1).filter_map(|tag| tag.split_once('>'));
                tags.filter(|(tag, _)| format!("<{tag}").contains(start)).count()
            };
            assert_eq!(count(&page), count(&plain), "{text}: {start}");
        }
        assert_eq!(page.matches('<').count(), plain.matches('<').count(), "{text}");
    }
}

#[test]
fn only_web_addresses_are_links() {
    let links = |text: &str| page_saying(text).matches("rel=\"nofollow noopener noreferrer\"").count();
    assert_eq!(links("https://pypi.org/project/x/1.0/?a=b&c=\"d\""), 1);
    assert_eq!(links("http://archive.example/x"), 1);
    for text in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "file:///etc/passwd",
        "https://u:p@x.example/",
        "//x",
        "numpy",
    ] {
        assert_eq!(links(text), 0, "{text}");
    }
    let page = page_saying("https://x.example/\"onclick=alert(1)//");
    assert!(page.contains("href=\"https://x.example/%22onclick=alert(1)//\""));
}

#[test]
fn what_is_hidden_is_shown_and_what_is_long_is_cut() {
    let page = page_saying("evil\u{202e}gpj.exe\u{200b}\u{0}");
    assert!(page.contains("evil⟨U+202E⟩gpj.exe⟨U+200B⟩⟨U+0000⟩"));
    assert!(!page.contains(['\u{202e}', '\u{200b}', '\0']));
    let long = page_saying(&"&".repeat(1 << 20));
    assert!(long.len() < page.len() + 40 * 5 * TEXT_CHARS, "{} bytes", long.len());
}

#[test]
fn a_browser_runs_nothing_of_it() {
    let Some(chromium) = Chromium::for_test("catalog::a_browser_runs_nothing_of_it") else { return };
    for text in &MARKUP[..3] {
        let seen = chromium.open(&page_saying(text), "");
        let title = seen.title();
        assert!(!title.contains("owned") || title.contains("document.title"), "{text}: {title}");
        assert_eq!(seen.errors(), [""; 0], "{text}");
    }
}
