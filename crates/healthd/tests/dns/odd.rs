//! A name server that does exactly what a test says, right or wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// A scripted name server, on UDP and perhaps on TCP.
pub(crate) struct Odd {
    pub(crate) address: SocketAddr,
    questions: Arc<Mutex<Vec<Message>>>,
    _tasks: JoinSet<()>,
}

/// A question as the script sees it.
pub(crate) struct Asked {
    pub(crate) message: Message,
    pub(crate) by_tcp: bool,
    /// How many questions came before it.
    pub(crate) number: usize,
}

impl Asked {
    pub(crate) fn is(&self, kind: RecordType) -> bool {
        self.message.queries[0].query_type() == kind
    }

    /// The datagram of an answer with this code.
    pub(crate) fn code(&self, code: ResponseCode) -> Vec<u8> {
        let mut message = self.answer();
        message.metadata.response_code = code;
        message.to_vec().unwrap()
    }

    /// The datagram of an answer with those of the addresses that were asked for.
    pub(crate) fn addresses(&self, addresses: &[&str]) -> Vec<u8> {
        self.with_addresses(addresses).to_vec().unwrap()
    }

    /// The same, said to be cut off.
    pub(crate) fn cut_off(&self, addresses: &[&str]) -> Vec<u8> {
        let mut message = self.with_addresses(addresses);
        message.metadata.truncation = true;
        message.to_vec().unwrap()
    }

    /// An answer without records.
    pub(crate) fn answer(&self) -> Message {
        let mut message = Message::new(self.message.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_available = true;
        message.add_query(self.message.queries[0].clone());
        message
    }

    fn with_addresses(&self, addresses: &[&str]) -> Message {
        let mut message = self.answer();
        for address in addresses {
            let data = RData::from(address.parse::<std::net::IpAddr>().unwrap());
            if self.is(data.record_type()) {
                message.add_answer(Record::from_rdata(self.message.queries[0].name().clone(), 1, data));
            }
        }
        message
    }
}

impl Odd {
    /// Answers on UDP, and on TCP if `tcp` says so; each datagram that the script returns is sent.
    pub(crate) async fn start(
        address: SocketAddr,
        tcp: bool,
        script: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let questions: Arc<Mutex<Vec<Message>>> = Arc::default();
        let seen = Arc::clone(&questions);
        let answers = Arc::new(move |bytes: &[u8], by_tcp| {
            let message = Message::from_vec(bytes).unwrap();
            let mut seen = seen.lock().unwrap();
            seen.push(message.clone());
            script(&Asked { message, by_tcp, number: seen.len() - 1 })
        });
        let mut tasks = JoinSet::new();
        let socket = UdpSocket::bind(address).await.unwrap();
        let by_udp = Arc::clone(&answers);
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
                for answer in by_udp(&buffer[..length], false) {
                    // Who asked may be gone.
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        if tcp {
            let listener = TcpListener::bind(address).await.unwrap();
            tasks.spawn(async move {
                loop {
                    let Ok((mut stream, _)) = listener.accept().await else { continue };
                    let Ok(length) = stream.read_u16().await else { continue };
                    let mut question = vec![0; length.into()];
                    if stream.read_exact(&mut question).await.is_err() {
                        continue;
                    }
                    for answer in answers(&question, true) {
                        let length = u16::try_from(answer.len()).unwrap();
                        let _ = stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await;
                    }
                }
            });
        }
        Self { address, questions, _tasks: tasks }
    }

    /// The questions so far.
    pub(crate) fn questions(&self) -> Vec<Message> {
        self.questions.lock().unwrap().clone()
    }
}
