import DataflowOperator
import Testing

@Suite struct ThreadTests {
    @Test func `a thread that the system does not give is an error that says what to do`() {
        let error = #expect(throws: OperatorError.self) {
            // A stack that no address space has room for.
            try startThread("a test", stackSize: 1 << 50) {}
        }
        #expect(error?.code == "no_thread")
        #expect(error?.message.hasPrefix("the system gives no thread for a test: ") == true)
        #expect(error?.message.contains("lower `parallelism`") == true)
    }

    @Test func `a thread runs what it was given`() throws {
        let result = Lock(0)
        try startThread("a test") { result.signal { $0 = 7 } }
        #expect(result.wait { $0 == 7 ? .take($0) : .wait(until: nil) } == 7)
    }
}
