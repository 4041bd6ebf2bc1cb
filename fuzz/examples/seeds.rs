//! Makes the input that fuzzing begins with, where a valid one is not found by chance: `cargo run --example seeds` in `fuzz/`.
//!
//! Once a format has changed, what was kept in `corpus/` is no longer valid, and this is.

use std::error::Error;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use agent_protocol::{
    Archive, BootId, Credit, DataDisk, Entropy, Exec, ExitStatus, Extract, Failure, FailureKind, Given,
    Hostname, Identity, LinkState, MachineId, Reply, Request, SessionId, Stream, WindowSize, encode_credit,
};
use format::map::Codec;
use format::{Digest, zstd_frame};
use fuzz::documents::{BEGIN, CONFIG, MANIFEST, STATUS};
use fuzz::pack::{ABSENT, Kind, Record, assemble, samples};
use fuzz::sample::{Sample, many_extents, pages, sample};
use fuzz::{json, wire};
use pack::{Input, UnpackOptions, plan_unpack};
use store::{Store, TagAs};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    formats()?;
    references()?;
    packs()?;
    from_guest()?;
    from_host()?;
    qmp()?;
    states()
}

fn put(target: &str, seed: &[u8]) -> Result {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    let name = Digest::of(seed).hex();
    Ok(fs::write(folder.join(&name[..40]), seed)?)
}

/// A document as it is, and with each of its tokens changed, of those that a target knows the one of this number.
fn document(target: &str, number: u8, document: &[u8]) -> Result {
    put(target, &[number])?;
    for (n, token) in (0_u16..).zip(json::tokens(document)) {
        let [low, high] = n.to_le_bytes();
        match document.get(token.start) {
            Some(b'"') => put(target, &[number, low, high, 3, 1, b'x'])?,
            Some(b'0'..=b'9') => put(target, &[number, low, high, 0, 1, b'1'])?,
            Some(b't') => put(target, &[&[number, low, high, 0, 5], &b"false"[..]].concat())?,
            Some(b'f') => put(target, &[&[number, low, high, 0, 4], &b"true"[..]].concat())?,
            _ => {}
        }
    }
    Ok(())
}

fn formats() -> Result {
    document("config", 0, CONFIG)?;
    document("manifest", 0, MANIFEST)?;
    for layers in [1, 12] {
        let Sample { maps, blobs, .. } = sample(layers, Codec::Zstd)?;
        let [first_disk, ..] = &maps.disks[..] else { return Err("a snapshot has disks".into()) };
        for map in [&maps.memory, first_disk] {
            put("map", &map.encode(Codec::Plain)?)?;
            put("map", &map.encode(Codec::Zstd)?)?;
        }
        let of_memory = &blobs[usize::from(layers)];
        let index = usize::try_from(maps.memory.blobs()[0].index_offset)?;
        put("frames", &of_memory[index..])?;
    }
    put("map", &many_extents()?.encode(Codec::Plain)?)?;
    for plain in [pages(1, 1), pages(2, 3), vec![7; 5000], (0..=255).cycle().step_by(7).take(4096).collect()]
    {
        put("frames", &zstd_frame::encode(&plain)?)?;
    }
    Ok(())
}

fn references() -> Result {
    let digest = Digest::of(b"x");
    let texts = [
        "numpy".to_owned(),
        "team/numpy:1.2".to_owned(),
        "localhost/a:x".to_owned(),
        "hub.example:5000/a/b__c-d.e:v1_0".to_owned(),
        format!("local/a:1@{digest}"),
        digest.to_string(),
        "52:54:00:12:34:56".to_owned(),
        "hub.example%3A5000%2Fa%2Fb%3A1".to_owned(),
    ];
    texts.iter().try_for_each(|text| put("reference", text.as_bytes()))
}

fn packs() -> Result {
    let with = |sample: u8, kind, rank, content: &[u8]| {
        let mut script = vec![sample];
        Record { kind, rank, content: content.to_vec() }.write(&mut script);
        script
    };
    for (n, records) in (0..).zip(samples()) {
        let place =
            |rank| records.iter().position(|record| record.rank == rank).map_or(Ok(255), u8::try_from);
        let (index, manifest, config, map) = (place(1)?, place(2)?, place(3)?, place(4)?);
        // Another number of CPUs.
        let cpus = with(n, Kind::Edit, 9, &[config, 18, 0, 0, 1, b'2']);
        for whole in [vec![n], cpus] {
            check(&assemble(&whole))?;
            put("pack", &whole)?;
        }
        put("pack", &with(n, Kind::Edit, 9, &[index, 3, 0, 3, 1, b'x']))?;
        put("pack", &with(n, Kind::Edit, 9, &[manifest, 3, 0, 3, 1, b'x']))?;
        put("pack", &with(n, Kind::Splice, 9, &[map, 10, 0, 1, 1]))?;
        put("pack", &with(n, Kind::Splice, 9, &[0, 5, 0, 2, 1, 2]))?;
        put("pack", &with(n, Kind::Move, 9, &[0, ABSENT]))?;
        put("pack", &with(n, Kind::Move, 9, &[config, 8]))?;
        put("pack", &with(n, Kind::Blob, 8, b"not declared"))?;
        put("pack", &with(n, Kind::Impostor, 8, b"\x00other"))?;
        put("pack", &with(n, Kind::Cut, 9, &[0, 2]))?;
    }
    let mut folder = tar::Header::new_ustar();
    folder.set_path("blobs/")?;
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_size(0);
    folder.set_cksum();
    put("pack", &with(0, Kind::Raw, 0, folder.as_bytes()))
}

/// Checks that a pack is one, with all of its snapshot.
fn check(pack: &[u8]) -> Result {
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().join("root"))?;
    let options = UnpackOptions { max_bytes: None, lay_out: true, may_lack: false };
    let tag = TagAs { name: "local/seed:1".parse()?, may_move: false };
    let input = Input::Stream(Box::new(Cursor::new(pack.to_vec())));
    plan_unpack(&store, input, options)?.execute(&tag, &())?.finish(&tag, &())?;
    Ok(())
}

fn credit(stream: Stream, bytes: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_credit(&mut frame, SessionId(1), Credit { stream, bytes });
    frame.split_off(agent_protocol::HEADER_LEN)
}

fn from_guest() -> Result {
    const CONTROL: u8 = 4;
    let failure = Failure { kind: FailureKind::NotFound, message: "no such file".into() };
    let replies = [
        Reply::Pong {},
        Reply::Warmed {},
        Reply::IdentityDone {},
        Reply::Provided {},
        Reply::Withdrawn {},
        Reply::Attached {},
        Reply::SyncDone {},
        Reply::Resumed {},
        Reply::ShuttingDown {},
        Reply::Started { pid: 7 },
        Reply::Connected {},
        Reply::Exit(ExitStatus::Code(0)),
        Reply::Exit(ExitStatus::Signal(9)),
        Reply::Failed(failure),
    ];
    for (reply, session) in replies.iter().zip([0, 1, 2, 3, 4].into_iter().cycle()) {
        let mut script = vec![1, 3];
        wire::write(&mut script, CONTROL, session, &serde_json::to_vec(reply)?);
        put("agent_from_guest", &script)?;
    }
    let json = |reply: &Reply| serde_json::to_vec(reply);
    // An exec from its beginning to its end, while the client reads, grants and sends.
    let mut script = vec![1, 5];
    wire::write(&mut script, CONTROL, 1, &json(&Reply::Started { pid: 7 })?);
    wire::write(&mut script, wire::RAW + 2, 0, b"input");
    wire::write(&mut script, 8, 1, &credit(Stream::Stdin, 5));
    wire::write(&mut script, 6, 1, b"output");
    wire::write(&mut script, 7, 1, b"an error");
    wire::write(&mut script, wire::RAW + 3, 0, b"");
    wire::write(&mut script, wire::RAW + 1, 0, &[0; 10]);
    wire::write(&mut script, 6, 1, b"");
    wire::write(&mut script, 7, 1, b"");
    wire::write(&mut script, CONTROL, 1, &json(&Reply::Exit(ExitStatus::Code(3)))?);
    wire::write(&mut script, wire::RAW + 4, 1, b"");
    wire::write(&mut script, 6, 3, b"nobody reads this");
    put("agent_from_guest", &script)?;
    // All that a client, and a port, has granted; a byte more is too much.
    for session in [1, 2, 3, 4] {
        let mut script = vec![1, 255];
        // A byte that is doubled to 32 KiB, in eight frames.
        (0..8).for_each(|_| wire::write(&mut script, 6, 0xF0 | session, b"x"));
        put("agent_from_guest", &script)?;
    }
    // A port's connection.
    let mut script = vec![1, 64];
    wire::write(&mut script, CONTROL, 4, &json(&Reply::Connected {})?);
    wire::write(&mut script, wire::RAW + 6, 0, b"");
    wire::write(&mut script, wire::RAW + 5, 0, b"GET /");
    wire::write(&mut script, 8, 4, &credit(Stream::Stdin, 5));
    wire::write(&mut script, 6, 4, b"200 OK");
    wire::write(&mut script, 6, 4, b"");
    wire::write(&mut script, wire::RAW + 6, 0, b"");
    wire::write(&mut script, CONTROL, 4, &json(&Reply::Exit(ExitStatus::Code(0)))?);
    wire::write(&mut script, wire::RAW, 0, &[0; 24]);
    put("agent_from_guest", &script)
}

fn from_host() -> Result {
    const CONTROL: u8 = 4;
    let identity = Identity {
        entropy: Entropy::new(vec![7; 32])?,
        wall_clock_ns: 1,
        hostname: Hostname::try_from("h".to_owned())?,
        machine_id: MachineId::try_from("0".repeat(32))?,
        boot_id: BootId::try_from("0b0c5d3e-52b1-4a0e-9a4f-7d1d3d8e0a11".to_owned())?,
        network: Some(LinkState { up: true }),
        deadline_ms: 1000,
    };
    let given = Given::new([("A".into(), "1".into())].into(), [("key".into(), vec![1, 255])].into())?;
    let size = WindowSize { rows: 24, columns: 80 };
    let exec = Exec {
        argv: vec!["sh".into(), "-c".into()],
        env: [("A".into(), "1".into())].into(),
        cwd: Some("/".into()),
        user: Some("root".into()),
        stdin: true,
        tty: Some(size),
    };
    let requests = [
        (0, Request::Ping {}),
        (0, Request::Warm { deadline_ms: 5 }),
        (0, Request::Identity(identity)),
        (0, Request::Provide(given)),
        (0, Request::Withdraw {}),
        (0, Request::Attach(DataDisk { writable: true })),
        (0, Request::Sync {}),
        (0, Request::Shutdown {}),
        (1, Request::Exec(exec)),
        (2, Request::Eval { code: "1".into() }),
        (3, Request::Archive(Archive { path: "/a".into(), user: None })),
        (4, Request::Extract(Extract { path: "/a".into(), name: Some("b".into()), user: None })),
        (5, Request::Connect { port: 80 }),
        (6, Request::Release {}),
        (1, Request::Signal { number: 2 }),
        (1, Request::Resize(size)),
    ];
    let mut sessions = vec![1, 9];
    for (session, request) in requests {
        let json = serde_json::to_vec(&request)?;
        let mut script = vec![1, 7];
        wire::write(&mut script, CONTROL, session, &json);
        put("agent_from_host", &script)?;
        if session > 0 {
            wire::write(&mut sessions, CONTROL, session, &json);
        }
    }
    wire::write(&mut sessions, 5, 1, b"input");
    wire::write(&mut sessions, 8, 1, &credit(Stream::Stdout, 100));
    wire::write(&mut sessions, 5, 1, b"");
    wire::write(&mut sessions, 0, 0, b"");
    put("agent_from_host", &sessions)?;
    let config = br#"{"version":1,"modules":["/a.ko"],"layers":1,"writable":true,"hostname":"h","env":{"A":"1"},"user":"u","cwd":"/",
        "network":{"address":"10.0.2.15","prefix":24,"gateway":"10.0.2.2","dns":"10.0.2.3"},
        "warm":{"argv":["a"],"ready":{"command":{"argv":["b"],"interval_ms":1}},"eval":true},"on_fork":{"argv":["c"],"deadline_ms":1}}"#;
    put("agent_from_host", &[&[1, 1][..], config].concat())
}

fn qmp() -> Result {
    document("qmp", 0, BEGIN)?;
    document("qmp", 1, STATUS)?;
    let answers = [
        r#"{"return": {"status": "running", "running": true}, "id": 0}"#,
        r#"{"return": {"blocked-reasons": ["an NVMe drive"]}, "id": 0}"#,
        r#"{"error": {"class": "CommandNotFound", "desc": "The command x has not been found"}, "id": 0}"#,
        r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
    ];
    answers.iter().try_for_each(|answer| put("qmp", format!("{answer}\n").as_bytes()))
}

fn states() -> Result {
    let section = |id: u8, name: &str, data: &[u8]| {
        let length = u8::try_from(name.len()).expect("a name is short");
        let start = [4, 0, 0, 0, id, length];
        let version = [0, 0, 0, 0, 0, 0, 0, 4];
        [&start[..], name.as_bytes(), &version, data, &[0x7E, 0, 0, 0, id]].concat()
    };
    let header = b"QEVM\x00\x00\x00\x03";
    let (timer, network, cpu) =
        (section(0, "timer", b"t"), section(1, "slirp", b"packets"), section(4, "cpu_common", b"c"));
    let name = "pc-q35-7.2";
    let prefix = [&[10], name.as_bytes(), header].concat();
    let configuration = [&[7, 0, 0, 0, 10], name.as_bytes()].concat();
    let states = [
        [&prefix[..], &timer, &cpu, &[0]].concat(),
        [&prefix[..], &timer, &network, &cpu, &[0]].concat(),
        [&prefix[..], &network, &[0]].concat(),
        [&prefix[..], &configuration, &timer, &cpu, &[0]].concat(),
        [&prefix[..], &configuration, &section(1, "timer", &[8, 0, 3, 0, 16]), &[0]].concat(),
    ];
    states.iter().try_for_each(|state| put("engine_state", state))
}
