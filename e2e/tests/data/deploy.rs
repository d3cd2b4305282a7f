//! The files to deploy with (`Containerfile`, `examples/deploy`): what they say of the program is so. That the files themselves are well formed is
//! for `scripts/lint-deploy.sh`. A name begins with the row of parity it proves.

use std::path::Path;
use std::time::Duration;

use mongodb::bson::doc;
use tempfile::TempDir;
use tidegate_tests::{Cli, Host, HostOptions, eventually};

use crate::scene::{PATIENCE, Scene};

const CONTAINERFILE: &str = include_str!("../../../Containerfile");
const DEPLOYMENT: &str = include_str!("../../../examples/deploy/kubernetes/deployment.yaml");
const CONFIG: &str = include_str!("../../../examples/deploy/kubernetes/tidegate.yaml");
const UNIT: &str = include_str!("../../../examples/deploy/systemd/tidegate.service");

/// What stands behind this instruction of the last stage of the Containerfile, on one line.
fn instruction(name: &str) -> String {
    let text = CONTAINERFILE.replace("\\\n", " ");
    let last = text.rsplit("\nFROM ").next().unwrap();
    let found = last.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("the Containerfile has no {name}")).trim().to_owned()
}

/// The words of `["a", "b"]`.
fn words(list: &str) -> Vec<String> {
    serde_json::from_str(&list[list.find('[').unwrap()..]).unwrap()
}

/// The settings that the image makes, with folders and a port of this test's own in their place.
fn image_settings(dir: &Path) -> Vec<(String, String)> {
    let settings = instruction("ENV");
    let settings = settings.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    settings
        .map(|(name, value)| {
            let value = match value.strip_prefix('/') {
                Some(path) => dir.join(path).display().to_string(),
                None => {
                    assert_eq!(value, "0.0.0.0:9610", "{name}");
                    "127.0.0.1:0".to_owned()
                }
            };
            (name.to_owned(), value)
        })
        .collect()
}

/// A pod, with the servers of this test.
fn pod(scene: &Scene) -> (TempDir, Host) {
    let dir = tempfile::Builder::new().prefix("tidegate-pod-").tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("var/lib/tidegate")).unwrap();
    let mut env = image_settings(dir.path());
    let (mongo, redis, database) = (&scene.mongodb_uri, &scene.redis_url, scene.names.database());
    let (key, dead) = (scene.names.key("{_id}"), scene.names.key("dead"));
    for (name, value) in [
        ("SOURCE", format!(r#"{{mongodb: {{uri: "{mongo}", database: "{database}"}}}}"#)),
        ("SINKS__CACHE", format!(r#"{{redis: {{url: "{redis}", mode: string, key: "{key}"}}}}"#)),
        ("DEAD_LETTER", format!(r#"{{redis: {{url: "{redis}", stream: "{dead}"}}}}"#)),
        ("CHECKPOINT", format!(r#"{{sink: {{name: "{database}", lease: 2s}}}}"#)),
    ] {
        env.push((format!("TIDEGATE__PIPELINES__SHOP__{name}"), value));
    }
    let options = HostOptions {
        dir: Some(dir.path().to_owned()),
        args: vec!["--standby".to_owned()],
        env,
        ..HostOptions::default()
    };
    let host = Host::start_with(CONFIG, options);
    (dir, host)
}

/// The exit code of the container's own health check, with more arguments, and what it prints.
async fn health_check(host: &mut Host, more: &[&str]) -> (Option<i32>, String) {
    let address = host.admin_address().await.to_string();
    let check = words(&instruction("HEALTHCHECK"));
    assert_eq!(check[0], "tidegate");
    let mut args: Vec<&str> =
        check[1..].iter().map(|word| if word == "127.0.0.1:9610" { address.as_str() } else { word.as_str() }).collect();
    args.extend(more);
    let done = Cli::run(&args, b"").await;
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

#[tokio::test]
async fn e10_two_pods_of_the_deployment_take_turns_and_their_probes_tell_it() {
    assert_eq!(words(&instruction("ENTRYPOINT")), ["tidegate"]);
    assert_eq!(words(&instruction("CMD")), ["run", "/etc/tidegate/tidegate.yaml"]);
    assert!(DEPLOYMENT.contains("args: [run, /etc/tidegate/tidegate.yaml, --standby]"));
    for path in ["path: /health,", "path: \"/readiness?standby\","] {
        assert!(DEPLOYMENT.contains(path), "{path}");
    }
    let scene = Scene::shared().await;
    let (_first_dir, mut first) = pod(&scene);
    first.wait_ready().await;
    let (_second_dir, mut second) = pod(&scene);
    second.wait_event("pipeline_standby").await;

    for host in [&mut first, &mut second] {
        assert_eq!(host.get("/health").await.0, 200);
        assert_eq!(host.get("/readiness?standby").await.0, 200);
        assert_eq!(health_check(host, &[]).await, (Some(0), "healthy\n".to_owned()));
        assert_eq!(health_check(host, &["--ready", "--standby"]).await, (Some(0), "ready\n".to_owned()));
    }
    assert_eq!(health_check(&mut first, &["--ready"]).await, (Some(0), "ready\n".to_owned()));
    let (ready, body) = second.get("/readiness").await;
    assert!(ready == 503 && body.contains("this one stands by"), "{ready} {body}");
    let (code, said) = health_check(&mut second, &["--ready"]).await;
    assert!(
        code == Some(1) && said.starts_with("not ready\n  shop: pipeline: another host runs it"),
        "{code:?} {said}"
    );

    let mut redis = scene.redis().await;
    let mut arrives = async |n: i32| {
        scene.collection("items").insert_one(doc! { "_id": n }).await.unwrap();
        let key = scene.names.key(&n.to_string());
        eventually(PATIENCE, &format!("{key} in Redis"), async || {
            let value: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await.unwrap();
            value.ok_or("not yet")
        })
        .await;
    };
    arrives(1).await;
    assert_eq!(first.stop().await, Some(0));
    second.wait_ready().await;
    arrives(2).await;
    let (code, said) = health_check(&mut second, &["--ready"]).await;
    assert_eq!((code, said.as_str()), (Some(0), "ready\n"));
    let address = second.admin_address().await.to_string();
    assert_eq!(second.stop().await, Some(0));
    let gone = Cli::run(&["health", "--admin", &address], b"").await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no host answers at"), "{gone:?}");
}

/// What the unit and the probes rely on: 2 for a configuration that cannot be used, and a drain that is shorter than the platform's patience.
#[tokio::test]
async fn e10_the_unit_and_the_program_agree() {
    let says = |key: &str| {
        let line = UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("the unit has no {key}")).to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tidegate.yaml"), "pipelines: {}\n").unwrap();
    let start = says("ExecStart");
    let args: Vec<&str> = start.split_whitespace().skip(1).map(|arg| arg.rsplit('/').next().unwrap()).collect();
    let bad = Cli::run_in(dir.path(), &args, b"").await;
    assert_eq!(bad.status.code().unwrap().to_string(), says("RestartPreventExitStatus"));
    assert!(says("ExecReload").contains("-HUP"));

    let settings = says("Environment");
    let env: Vec<(String, String)> = settings
        .split_whitespace()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.replace("/var/lib", "state")))
        .collect();
    let good = "pipelines: { p: { source: stdin, sinks: { out: stdout } } }\n";
    std::fs::write(dir.path().join("tidegate.yaml"), good).unwrap();
    let checked = Cli::run_with(dir.path(), &["check", "tidegate.yaml"], b"", &env, PATIENCE).await;
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let drain = Duration::from_secs(10);
    assert!(Duration::from_secs(says("TimeoutStopSec").parse().unwrap()) > drain);
    assert!(DEPLOYMENT.contains("terminationGracePeriodSeconds: 30"));
}
