//! `code-interpreter`: text, errors and plots as one document; what takes too long ends, and state stays.

use serde_json::{Value, json};

use crate::harness::Spore;
use crate::journey::Journey;

const PLOT: &str = "plt.plot(df.x, df.y); plt.title('squares'); None";
/// The signature of a PNG file (its section 5.2), and how IHDR (11.2.2) begins after it, in base64.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUg";
/// A figure is 640 by 480, less its margins: a blank one would be smaller than any plot.
const PLOT_BYTES: usize = 5_000;

#[test]
fn code_interpreter() {
    Journey { recipe: "code-interpreter", marked: false, forks: 2, first_answer, uses }.run();
}

fn first_answer(spore: &Spore, id: &str) {
    assert_eq!(interpret(spore, id, &["int(np.arange(5).sum())"])["result"], "10");
}

fn uses(spore: &Spore, forks: &[String]) {
    for (number, id) in forks.iter().enumerate() {
        first_answer(spore, id);
        let code =
            format!("df = pd.DataFrame({{'x': range(9)}}); df['y'] = df.x ** 2 + {number}; print('made')");
        let made = interpret(spore, id, &[&code]);
        let empty = json!({
            "stdout": "made\n", "stderr": "", "result": null, "error": null, "images": [],
            "truncated": false, "timed_out": false,
        });
        assert_eq!(made, empty);
        let error = &interpret(spore, id, &["df.missing"])["error"];
        assert_eq!(error["name"], "AttributeError");
        assert!(error["value"].as_str().is_some_and(|text| text.contains("missing")), "{error}");
        assert!(error["traceback"].as_str().is_some_and(|text| text.contains("df.missing")), "{error}");
        let plotted = interpret(spore, id, &[PLOT]);
        let image = plotted["images"][0].as_str().unwrap_or_else(|| panic!("no image: {plotted}"));
        assert!(image.starts_with(PNG) && image.len() > PLOT_BYTES, "{} bytes: {image:.40}", image.len());
    }
    for (number, id) in forks.iter().enumerate() {
        assert_eq!(interpret(spore, id, &["int(df.y.sum())"])["result"], (204 + 9 * number).to_string());
        assert_eq!(spore.eval(id, "int(df.y.min())"), number.to_string());
    }
    bounds(spore, &forks[0]);
}

/// What takes too long and what is too much.
fn bounds(spore: &Spore, id: &str) {
    let late = interpret(spore, id, &["--timeout", "1", "while True: pass"]);
    assert_eq!(
        (&late["timed_out"], &late["error"]["name"]),
        (&json!(true), &json!("KeyboardInterrupt")),
        "{late}"
    );
    let long = interpret(spore, id, &["print('x' * 3_000_000)"]);
    assert_eq!((&long["truncated"], &long["error"]), (&json!(true), &Value::Null));
    assert_eq!(long["stdout"].as_str().map(str::len), Some(1 << 20));
    let piped =
        spore.command(["exec", id, "-i", "--", "interpret", "-"]).stdin("len(df)").finish().succeeds();
    assert_eq!(piped.json()["result"], "9");
}

#[track_caller]
fn interpret(spore: &Spore, id: &str, arguments: &[&str]) -> Value {
    spore.run([&["exec", id, "--", "interpret"], arguments].concat()).succeeds().json()
}
