import Foundation
import Glibc

/// A running `openfood-api`.
package final class StandInAPI {
    package struct Statistics: Decodable {
        package struct Page: Decodable {
            package var offset: Int
            package var length: Int
            package var requests: Int
            package var successes: Int
        }
        package var requests: Int
        package var successes: Int
        package var faults: [String: Int]
        package var pages: [Page]

        /// Successful reads by offset.
        package var reads: [Int: Int] {
            Dictionary(pages.map { ($0.offset, $0.successes) }, uniquingKeysWith: +)
        }
    }

    package let url: String
    private let process: ChildProcess
    private let port: UInt16

    /// - Parameters:
    ///   - rows: how many rows there are at most.
    ///   - faults: `KIND:RATE` each.
    package init(rows: Int, faults: [String] = [], seed: UInt64 = 1, slowSeconds: Double = 0.3) throws {
        var arguments = [
            "--port", "0", "--rows", "\(rows)", "--seed", "\(seed)", "--slow-seconds", "\(slowSeconds)", "--no-gzip",
        ]
        if let pages = Repository.recordedPages { arguments += ["--pages", pages] }
        for fault in faults { arguments += ["--fault", fault] }
        process = try ChildProcess(Repository.program("openfood-api"), arguments)
        let line = try process.firstLine(within: .seconds(60))
        guard let colon = line.lastIndex(of: ":"), let port = UInt16(line[line.index(after: colon)...]) else {
            throw ChildProcess.Failure(description: "openfood-api printed \(line)")
        }
        self.port = port
        url = "http://127.0.0.1:\(port)/rows"
    }

    package func statistics() throws -> Statistics {
        try JSONDecoder().decode(Statistics.self, from: get("/stats"))
    }

    /// The answer's body for 100 rows from `offset` on.
    package func page(_ offset: Int) throws -> Data {
        try get("/rows?dataset=openfoodfacts/product-database&config=default&split=food&offset=\(offset)&length=100")
    }

    /// One request over a connection of its own.
    private func get(_ target: String) throws -> Data {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        let request = Array("GET \(target) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".utf8)
        guard connected == 0, send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count
        else {
            throw ChildProcess.Failure(
                description: "openfood-api: \(String(cString: strerror(errno)))\n\(process.errors)")
        }
        var answer = Data()
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = recv(descriptor, &chunk, chunk.count, 0), count > 0 {
            answer.append(contentsOf: chunk[..<count])
        }
        guard let end = answer.range(of: Data("\r\n\r\n".utf8)) else {
            throw ChildProcess.Failure(description: "openfood-api answered \(target) with \(answer.count) bytes")
        }
        return Data(answer[end.upperBound...])
    }
}
