//! What a configuration is made of: several files, variables, secrets; and the schema that editors read. A name begins with the row of parity it proves.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::Cli;
use tidegate_tests::servers::{Redis, RedisOptions, read_stream};

const PASSWORD: &str = "hunter2:/?#[]@%'\"$ ";

const BASE: &str = "state: { dir: state }
admin: { listen: 127.0.0.1:0 }
pipelines:
  copy:
    source: { file: { path: changes.jsonl } }
    sinks:
      out: { redis: { host: \"${REDIS_HOST}\", port: \"${REDIS_PORT:-1}\", stream: nowhere } }
";

const OVER: &str = "log: { format: json }
pipelines:
  copy:
    sinks:
      out:
        redis: { password: \"${file:secrets/redis}\", stream: \"${STREAM}\" }
";

struct Folder {
    dir: TempDir,
    env: Vec<(String, String)>,
}

impl Folder {
    fn new(env: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("tidegate-cli-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("secrets")).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { dir, env }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    async fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let done = Cli::run_with(self.path(), args, b"", &self.env, Duration::from_secs(60)).await;
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(!said.contains("hunter2"), "{said}");
        (done.status.code(), said)
    }
}

/// Two files, a `.env`, a variable of the process, a secret of a file and a setting, each with a part of it.
#[tokio::test]
async fn d1_files_variables_and_secrets_make_one_configuration() {
    let redis = Redis::start(RedisOptions::default()).await;
    let mut admin = redis.connection().await;
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(PASSWORD).exec_async(&mut admin).await.unwrap();
    let folder = Folder::new(&[("REDIS_HOST", "127.0.0.1")]);
    folder.write("base.yaml", BASE);
    folder.write("over.yaml", OVER);
    folder.write("secrets/redis", &format!("{PASSWORD}\n"));
    let port = redis.port();
    folder.write(
        ".env",
        &format!("# for tests\nREDIS_HOST=nowhere.invalid\nexport REDIS_PORT={port}\nSTREAM='from # env'\n"),
    );
    folder.write("changes.jsonl", "{\"op\":\"insert\",\"ns\":\"d.c\",\"doc\":{\"_id\":1}}\n");

    let (code, said) = folder.run(&["check", "base.yaml", "over.yaml"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("base.yaml, over.yaml is good"), "{said}");
    let (code, said) = folder.run(&["run", "base.yaml", "-c", "over.yaml"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(read_stream(&mut admin, "from # env").await.len(), 1);

    // A file of variables in its place, and a setting in that file.
    folder.write(
        "test.env",
        &format!("REDIS_PORT={port}\nSTREAM=other\nTIDEGATE__PIPELINES__COPY__SINKS__OUT__REDIS__STREAM=\"set\"\n"),
    );
    folder.write("state2.yaml", "state: { dir: state2 }");
    let (code, said) = folder.run(&["run", "base.yaml", "over.yaml", "state2.yaml", "--env-file", "test.env"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(read_stream(&mut admin, "set").await.len(), 1);
    // Other commands read the same files.
    let (code, said) =
        folder.run(&["checkpoint", "show", "base.yaml", "copy", "-c", "over.yaml", "-c", "state2.yaml"]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn d1_what_is_wrong_is_told_by_file_line_and_column() {
    let folder = Folder::new(&[("REDIS_HOST", "h"), ("STREAM", "s")]);
    folder.write("base.yaml", BASE);
    folder.write("secrets/redis", PASSWORD);
    for (over, env, place, says) in [
        (OVER.replace("stream:", "streem:"), "", "--> over.yaml:6:53", "did you mean `stream`?"),
        (OVER.replace("stream:", "timeout: 5, stream:"), "", "--> over.yaml:6:", "write a number with a unit"),
        (
            OVER.replace("secrets/redis", "secrets/none"),
            "",
            "--> over.yaml:6:29",
            "error[TG0107]: the file `secrets/none` of a value cannot be read: there is no such file",
        ),
        (
            OVER.replace("${STREAM}", "${STREEM}"),
            "",
            "--> over.yaml:6:",
            "the environment variable `STREEM` is not set",
        ),
        (OVER.to_owned(), "A=1\nhunter2\n", "--> .env:2:1", "error[TG0108]: the line has no `=`"),
        (
            OVER.to_owned(),
            "TIDEGATE__PIPELINES__COPY__LANES=hunter2\n",
            "--> the environment variable TIDEGATE__PIPELINES__COPY__LANES of .env:1",
            "takes a whole number",
        ),
    ] {
        folder.write("over.yaml", &over);
        folder.write(".env", env);
        let (code, said) = folder.run(&["check", "base.yaml", "over.yaml"]).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(place) && said.contains(says), "{place}, {says}:\n{said}");
    }
    let (code, said) = folder.run(&["check", "base.yaml", "none.yaml", "--env-file", "none.env"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--> none.yaml") && said.contains("--> none.env"), "{said}");
}

#[tokio::test]
async fn d1_the_schema_is_printed_for_editors() {
    let folder = Folder::new(&[]);
    for (args, requires) in [(&["schema", "config"][..], true), (&["schema", "config", "--partial"], false)] {
        let (code, said) = folder.run(args).await;
        assert_eq!(code, Some(0), "{said}");
        let schema: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert_eq!(schema["required"].as_array().is_some_and(|keys| keys == &["pipelines"]), requires, "{schema}");
        let lanes = &schema["definitions"]["PipelineConfig"]["properties"]["lanes"];
        assert_eq!(lanes["default"], 2, "{lanes}");
        assert!(lanes["description"].as_str().unwrap().contains("Parallel lanes"), "{lanes}");
    }
}
