//! A session and its agent, whose part the test plays.

use std::io::Read;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use agent_protocol::{Decoder, Exec, Greeting, VERSION, encode_reply, hello_reply};

use super::*;

const INPUT: usize = 4 << 20;

/// An agent whose program writes all that it may before it reads anything; what it was sent then.
fn answers_first(mut stream: UnixStream) -> usize {
    let (mut decoder, mut buffer, mut read) = (Decoder::agent(), vec![0; 1 << 16], 0);
    loop {
        let count = stream.read(&mut buffer).unwrap();
        let mut input = &buffer[..count];
        let mut out = Vec::new();
        while let Some(incoming) = decoder.next(&mut input) {
            match incoming {
                Incoming::Hello(greeting) => {
                    out.extend(hello_reply(Greeting { version: VERSION, ..greeting }));
                }
                Incoming::Control(SESSION, _) => {
                    encode_data(&mut out, SESSION, Stream::Stdout, &vec![1; INITIAL_CREDIT as usize]);
                }
                Incoming::Data(_, _, []) => {
                    encode_reply(&mut out, SESSION, &Reply::Exit(ExitStatus::Code(0))).unwrap();
                    stream.write_all(&out).unwrap();
                    return read;
                }
                Incoming::Data(_, _, bytes) => {
                    read += bytes.len();
                    let credit = Credit { stream: Stream::Stdin, bytes: u32::try_from(bytes.len()).unwrap() };
                    encode_credit(&mut out, SESSION, credit);
                }
                _ => {}
            }
        }
        stream.write_all(&out).unwrap();
    }
}

/// Standard output whose reader begins when told to.
struct Late(Option<Receiver<()>>, usize);

impl Write for Late {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(told) = self.0.take() {
            told.recv_timeout(Duration::from_secs(20)).map_err(|_| io::ErrorKind::TimedOut)?;
        }
        self.1 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(
    agent: impl FnOnce(UnixStream) -> usize + Send + 'static,
) -> (Session, std::thread::JoinHandle<usize>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let agent = std::thread::spawn(move || agent(theirs));
    let mut channel = Channel::new(ours).unwrap();
    channel.greet_until_answered(Deadline::after(Duration::from_secs(20))).unwrap();
    let request = Request::Exec(Exec { argv: vec!["x".into()], stdin: true, ..Exec::default() });
    (Session::start(channel, &request).unwrap(), agent)
}

#[test]
fn input_goes_on_while_output_cannot_be_written() {
    let (mut session, agent) = start(answers_first);
    let (tell, told) = channel();
    let input = session.input();
    let feeding = std::thread::spawn(move || {
        input.write(&vec![2; INPUT]).unwrap();
        tell.send(()).unwrap();
        input.close().unwrap();
    });
    let mut output = Late(Some(told), 0);
    let ended = session.finish(Deadline::after(Duration::from_secs(60)), &mut output, &mut io::sink());
    assert_eq!(ended.unwrap().unwrap(), ExitStatus::Code(0));
    feeding.join().unwrap();
    assert_eq!((agent.join().unwrap(), output.1), (INPUT, INITIAL_CREDIT as usize));
}

#[test]
fn output_that_nobody_reads_ends_the_session() {
    // The agent's program says something, and nothing more for ever.
    let (mut session, agent) = start(|mut stream| {
        let mut buffer = vec![0; 1 << 17];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let (mut decoder, mut input) = (Decoder::agent(), &buffer[..count]);
            let mut out = Vec::new();
            while let Some(incoming) = decoder.next(&mut input) {
                if let Incoming::Hello(greeting) = incoming {
                    out.extend(hello_reply(Greeting { version: VERSION, ..greeting }));
                    encode_data(&mut out, SESSION, Stream::Stdout, b"x");
                }
            }
            stream.write_all(&out).unwrap();
        }
        0
    });
    let (_, told) = channel();
    let deadline = Deadline::after(Duration::from_secs(60));
    let error = session.finish(deadline, &mut Late(Some(told), 0), &mut io::sink()).unwrap_err();
    assert!(matches!(error, ChannelError::Io(_)), "{error:?}");
    agent.join().unwrap();
}
