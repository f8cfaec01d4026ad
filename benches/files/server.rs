//! The S3 server that all tools copy to, in a process of its own: s3s-fs on a folder.

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use tokio::net::TcpListener;

pub(crate) const BUCKET: &str = "bench";
pub(crate) const ACCESS: &str = "bench-access";
pub(crate) const SECRET: &str = "bench-secret";

/// The server's process; ends with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) endpoint: String,
}

impl Server {
    pub(crate) fn start(buckets: &Path) -> Self {
        std::fs::create_dir_all(buckets.join(BUCKET)).expect("a folder");
        let program = std::env::current_exe().expect("this program");
        let mut child =
            Command::new(program).arg("serve").arg(buckets).stdout(Stdio::piped()).spawn().expect("a server process");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let endpoint = lines.next().expect("its address").expect("text");
        Self { child, endpoint }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is just as well.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Serves until it is killed.
pub(crate) fn serve(folder: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder).expect("a folder"));
        service.set_auth(SimpleAuth::from_single(ACCESS, SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("http://{}", listener.local_addr().expect("an address"));
        loop {
            let (socket, _) = listener.accept().await.expect("a caller");
            socket.set_nodelay(true).expect("a socket");
            let service = service.clone();
            tokio::spawn(async move {
                // A caller that hangs up is no news.
                let _ended = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
}
