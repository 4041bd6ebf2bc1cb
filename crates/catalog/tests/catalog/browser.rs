//! The page in a real browser: with its script and without, on wide and narrow screens, light and dark.

use std::fs;
use std::path::Path;

use catalog::{Heading, html, testing};

use crate::chromium::Chromium;
use crate::pages::catalog;

const NAMES: [&str; 7] =
    ["browser", "code-interpreter", "coding-agent", "jupyter-kernel", "nodejs", "postgres", "python-numpy"];

/// The names whose sections a reader sees.
fn shown(dom: &str) -> Vec<&str> {
    let sections = dom.split("<section ").skip(1);
    let shown = sections.filter(|section| !section.split('>').next().unwrap().contains("hidden"));
    shown.map(|section| section.split("id=\"name/").nth(1).unwrap().split('"').next().unwrap()).collect()
}

#[test]
fn all_is_there_without_a_script() {
    let Some(chromium) = Chromium::for_test("catalog::all_is_there_without_a_script") else { return };
    let page = html(&catalog()).unwrap();
    // What a reader sees, all unfolded.
    let unfolded = page.replace("<details", "<details open");
    let text = chromium.ask(&unfolded, 800, false, "root.innerText");
    for name in NAMES {
        assert!(text.contains(&format!("\n{name}\n")), "{name}: {text}");
    }
    for seen in [
        "spore pull --hub https://hub.example browser:131\n",
        "python3-numpy\t1:1.24.2-1+deb12u1\tBSD-3-clause, BSD-2-clause, Apache-2.0\tnumpy",
        "CPU baseline Haswell-noTSX",
        "a fork of jupyter-kernel:6.17",
        "Cannot be pulled.",
        "2 older",
    ] {
        assert!(text.contains(seen), "{seen}: {text}");
    }
    for needs_script in ["Search names", "Copy"] {
        assert!(!text.contains(needs_script), "{needs_script}");
        assert!(chromium.ask(&page, 800, true, "root.innerText").contains(needs_script), "{needs_script}");
    }
}

#[test]
fn one_can_search() {
    let Some(chromium) = Chromium::for_test("catalog::one_can_search") else { return };
    let page = html(&catalog()).unwrap();
    let search = |query: &str| {
        let seen = chromium.open(&page, query);
        assert_eq!(seen.errors(), [""; 0], "{query}");
        seen.dom
    };
    let all = search("");
    assert_eq!(shown(&all), NAMES);
    assert!(!all.contains("<form id=\"search\" role=\"search\" hidden"));
    assert_eq!(all.matches(">Copy</button>").count(), all.matches("<p class=\"command\">").count());
    for (query, names) in [
        ("#q=Python-NUMPY", &["python-numpy"][..]),
        ("#q=pandas", &["code-interpreter", "jupyter-kernel"]),
        ("#q=kvm", &["nodejs"]),
        ("#q=pytest%20expat", &["coding-agent"]),
        ("#q=gpl%20chromium", &["browser"]),
        ("#q=nothing-has-this", &[]),
        ("#q=%", &NAMES),
    ] {
        assert_eq!(shown(&search(query)), names, "{query}");
    }
    let dom = search("#q=pandas");
    assert!(dom.contains("With python3-pandas 1.5.3+dfsg-2<"), "packages that fit are named");
    assert!(dom.contains(">2 of 12 found<"));
    // Two of the five are folded away until a search finds them.
    assert!(search("#q=python-numpy").contains("<details class=\"older\" open"));
}

#[test]
fn it_fits_every_screen() {
    let Some(chromium) = Chromium::for_test("catalog::it_fits_every_screen") else { return };
    let page = html(&catalog()).unwrap().replace("<details", "<details open");
    for width in [320, 360, 375, 560, 768, 1280] {
        let question = "`${root.scrollWidth} of ${root.clientWidth}`";
        assert_eq!(chromium.ask(&page, width, true, question), format!("{width} of {width}"));
    }
}

#[test]
fn it_can_be_looked_at() {
    let Some(chromium) = Chromium::for_test("catalog::it_can_be_looked_at") else { return };
    let page = html(&catalog()).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let pictures = [
        ("wide", (1280, 900), false, ""),
        ("narrow", (375, 812), false, ""),
        ("wide-dark", (1280, 900), true, ""),
        ("narrow-dark", (375, 812), true, ""),
        ("search", (1280, 900), false, "#q=pandas"),
    ];
    for (name, size, dark, fragment) in pictures {
        let picture = chromium.picture(&page, fragment, size, dark);
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{name}: {} bytes", picture.len());
        fs::write(folder.join(format!("catalogue-{name}.png")), picture).unwrap();
    }
    println!("pictures of the catalogue: {}/catalogue-*.png", folder.display());
}

#[test]
fn a_large_hub_is_searched_too() {
    let Some(chromium) = Chromium::for_test("catalog::a_large_hub_is_searched_too") else { return };
    let heading = Heading::at_url("Large", "https://hub.example").unwrap();
    let page = html(&testing::large_hub(200, 300).unwrap().finish(&heading)).unwrap();
    assert!(page.len() < 8 << 20, "{} bytes for 200 snapshots of 300 packages", page.len());
    let seen = chromium.open(&page, "#q=1.250.7-1%2Bdeb12u1");
    assert_eq!(shown(&seen.dom), [""; 0]);
    let seen = chromium.open(&page, "#q=1.249.7-1%2Bdeb12u1");
    assert_eq!(shown(&seen.dom), ["team-0/machine-7"]);
}
