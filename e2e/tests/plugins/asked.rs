//! What can be granted comes to a plugin the same in every language, and what a plugin asks for goes out the same.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidegate_tests::{Cli, plugin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The asker in each language; the first is the one that says what is right.
const ASKERS: [&str; 6] = [
    "conformance-asker",
    "conformance-asker-c",
    "conformance-asker-go",
    "conformance-asker-js",
    "conformance-asker-ts",
    "conformance-asker-python",
];

/// Some components have 18 MB, which takes a busy machine a while to compile.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn six_askers_pass_the_cases_of_the_asker() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/conformance/asker/asker.case.yaml");
    let project = "name: conformance-asker\nlanguage: rust\nroles: [migrator]\nuses: [http, env, clock, random]\n";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plugin.yaml"), project).unwrap();
    std::fs::copy(cases, dir.path().join("asker.case.yaml")).unwrap();
    for asker in ASKERS {
        let component = plugin(asker).display().to_string();
        let output =
            Cli::run_with(dir.path(), &["plugin", "test", "--component", &component], b"", &[], PATIENCE).await;
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.code() == Some(0) && told.contains(" 0 failed"), "{asker}: {told}");
    }
}

/// A web server that says what it was asked, to the byte, and nothing that is different each time.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut asked = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&asked).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break;
            }
        }
        if stream.read_buf(&mut asked).await? == 0 {
            return Ok(());
        }
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path {
        // Until who asked has had enough.
        "/slow" => return stream.read_u8().await.map(drop),
        "/large" => ("200 OK", "x".repeat(2000)),
        "/none" => ("404 Not Found", String::new()),
        "/elsewhere" => ("302 Found", String::new()),
        _ => ("201 Created", asked.clone()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nX-Zebra: 1\r\nx-apple: zwölf, 12\r\nlocation: /none\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await
}

/// Serves until the test ends.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

/// Of the questions, those that cannot be asked.
const FAILED: usize = 2;

/// One of each way that a question can end.
fn questions(server: SocketAddr, nobody: SocketAddr) -> Vec<Value> {
    let http = |method: &str, url: String, more: Value| {
        let mut question = json!({ "ask": "http", "method": method, "url": url });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        question
    };
    let at = |path: &str| format!("http://{server}{path}");
    vec![
        json!({ "ask": "environment", "name": "ASKED" }),
        json!({ "ask": "environment", "name": "EMPTY" }),
        json!({ "ask": "environment", "name": "PATH" }),
        json!({ "ask": "environment" }),
        json!({ "ask": "random", "count": 0 }),
        http("GET", at("/items/7?a=b&c=%20"), json!({})),
        http(
            "GET",
            at("/items"),
            json!({ "headers": { "X-One": "1", "accept": "text/*", "x-two": "zwei" }, "timeout": 60_000 }),
        ),
        http(
            "POST",
            at("/items"),
            json!({ "headers": { "content-type": "application/json" }, "body": "{\"name\":\"Lämpchen 🦀\"}" }),
        ),
        http("DELETE", at("/items/7"), json!({ "body": "" })),
        http("get", at("/items"), json!({})),
        http("GET", at("/none"), json!({})),
        http("GET", at("/elsewhere"), json!({})),
        http("GET", at("/large"), json!({})),
        http("POST", at("/items"), json!({ "body": "x".repeat(2000) })),
        http("GET", at("/slow"), json!({ "timeout": 50 })),
        http("GET", format!("http://{nobody}/"), json!({})),
        http("GET", "http://127.0.0.1/".to_owned(), json!({})),
        http("GET", "https://api.example.com/".to_owned(), json!({})),
        http("G T", at("/items"), json!({})),
        http("GET", "ftp://127.0.0.1/".to_owned(), json!({})),
        http("GET", String::new(), json!({})),
        http("GET", at("/items"), json!({ "headers": { "no name": "1" } })),
        http("GET", at("/items"), json!({ "headers": { "x": "a\nb" } })),
        http("GET", at("/items"), json!({ "headers": { "host": "api.example.com" } })),
        json!({ "ask": "files" }),
        json!({}),
    ]
}

/// What a pipeline with the asker makes of these documents: what is delivered, and what goes to the dead letter.
async fn answers(asker: &str, granted: &[SocketAddr], documents: &[Value]) -> (Vec<String>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    std::fs::copy(plugin(asker), dir.path().join("plugins/asker.wasm")).unwrap();
    let places = granted.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
    let config = format!(
        "admin: {{ listen: 127.0.0.1:0 }}
plugins:
  limits: {{ http_size: 1KiB, http_time: 60s, time: 10s }}
  each: {{ asker: {{ grants: {{ http: [ {places} ], env: [ ASKED, EMPTY ], clock: true, random: true }} }} }}
pipelines:
  p: {{ source: stdin, stages: [ {{ plugin: asker }} ], sinks: {{ out: stdout }} }}
"
    );
    std::fs::write(dir.path().join("tidegate.yaml"), config).unwrap();
    let input: String = documents
        .iter()
        .enumerate()
        .map(|(number, document)| {
            let mut document = document.clone();
            document["_id"] = number.into();
            json!({ "id": format!("{number:04}"), "op": "insert", "ns": "ask.questions", "doc": document }).to_string()
                + "\n"
        })
        .collect();
    let env = [("ASKED", "ja, größer"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let output = Cli::run_with(dir.path(), &["run", "tidegate.yaml"], input.as_bytes(), &env, PATIENCE).await;
    assert_eq!(output.status.code(), Some(0), "{asker}: {}", String::from_utf8_lossy(&output.stderr));
    let mut delivered: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    delivered.sort();
    (delivered, dead_letters(dir.path()))
}

fn dead_letters(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join(".tidegate/p.dead.jsonl")).unwrap_or_default();
    let of_letter = |line: &str| {
        let letter: Value = serde_json::from_str(line).unwrap();
        json!({ "id": letter["id"], "kind": letter["kind"], "reason": letter["reason"] })
    };
    text.lines().map(of_letter).collect()
}

/// The real clock, and random numbers that nobody had before.
fn assert_real(asker: &str, told: &[String], began: u128, seen: &mut BTreeSet<String>) {
    let told: Vec<Value> = told.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [clock, random @ ..] = told.as_slice() else { panic!("{asker}: {told:?}") };
    let time: u128 = clock["doc"]["answer"]["$numberLong"].as_str().unwrap().parse().unwrap();
    assert!((began..=now()).contains(&time), "{asker}: {time}");
    for line in random {
        let hex = line["doc"]["answer"].as_str().unwrap();
        assert!(hex.len() == 32 && hex.chars().all(|digit| digit.is_ascii_hexdigit()), "{asker}: {hex}");
        assert!(seen.insert(hex.to_owned()), "{asker}: {hex} came before");
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// Asks the same of the asker in Rust and of another, and compares what came of it.
async fn asks_and_is_answered_the_same_to_the_byte(asker: &str) {
    let server = server().await;
    // A port that was free a moment ago, and that nobody listens to.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut questions = questions(server, nobody);
    let alike = questions.len() - FAILED;
    let random = json!({ "ask": "random", "count": 16 });
    questions.extend([json!({ "ask": "clock" }), random.clone(), random]);
    let (mut both, mut seen) = (Vec::new(), BTreeSet::new());
    for asker in [ASKERS[0], asker] {
        let began = now();
        let (mut told, failed) = answers(asker, &[server, nobody], &questions).await;
        assert_eq!((told.len(), failed.len()), (questions.len() - FAILED, FAILED), "{asker}: {told:#?} {failed:#?}");
        assert_real(asker, &told.split_off(alike), began, &mut seen);
        both.push((told, failed));
    }
    for (right, told) in both[0].0.iter().zip(&both[1].0) {
        assert_eq!(told, right, "{asker}");
    }
    assert_eq!(both[1].1, both[0].1, "{asker}");
    let said = both[0].0.join("\n");
    for part in [
        "\"answer\":\"ja, größer\"",
        "\"answer\":null",
        "Lämpchen 🦀",
        "\"x-zebra\":\"1\",\"x-apple\":\"zwölf, 12\"",
        "\"not-granted\"",
        "\"invalid\"",
        "\"unreachable\"",
        "\"timed-out\"",
        "\"too-large\"",
    ] {
        assert!(said.contains(part), "nothing of {part}: {said}");
    }
}

/// One by one: compiling those with an engine in them takes a while.
macro_rules! askers {
    ($($name:ident $asker:literal)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                asks_and_is_answered_the_same_to_the_byte($asker).await;
            }
        )*
    };
}

askers! {
    asker_in_c_is_that_in_rust_to_the_byte "conformance-asker-c"
    asker_in_go_is_that_in_rust_to_the_byte "conformance-asker-go"
    asker_in_javascript_is_that_in_rust_to_the_byte "conformance-asker-js"
    asker_in_typescript_is_that_in_rust_to_the_byte "conformance-asker-ts"
    asker_in_python_is_that_in_rust_to_the_byte "conformance-asker-python"
}
