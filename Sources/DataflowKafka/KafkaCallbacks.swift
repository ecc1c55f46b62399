internal import CKafka
internal import DataflowOperator
internal import Glibc
internal import Logging

/// What librdkafka's callbacks reach: they come on its threads and on whichever calls it, append here and return.
final class KafkaCallbacks: Sendable {
    private struct State {
        var failures: [KafkaFailure] = []
        var rebalances: [KafkaRebalance] = []
        var last: KafkaFailure?
    }

    private static let maxFailures = 100

    let logger: Logger
    let oauthTokenFile: String?
    private let state = Lock(State())

    init(logger: Logger, oauthTokenFile: String?) {
        self.logger = logger
        self.oauthTokenFile = oauthTokenFile
    }

    func add(_ failure: KafkaFailure) {
        state.withLock { state in
            // That all brokers are down follows the reason why the last of them is.
            if failure.code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || state.last == nil { state.last = failure }
            if state.failures.count < KafkaCallbacks.maxFailures { state.failures.append(failure) }
        }
    }

    func takeFailures() -> [KafkaFailure] {
        state.withLock { state in
            defer { state.failures.removeAll() }
            return state.failures
        }
    }

    /// The last failure of a connection, kept until something works again.
    var lastFailure: KafkaFailure? { state.withLock { $0.last } }

    func forgetLastFailure() { state.withLock { $0.last = nil } }

    func add(_ rebalance: KafkaRebalance) { state.withLock { $0.rebalances.append(rebalance) } }

    func takeRebalances() -> [KafkaRebalance] {
        state.withLock { state in
            defer { state.rebalances.removeAll() }
            return state.rebalances
        }
    }

    /// Has the changes of a group's assignment told to us, who answer them.
    static func installRebalance(in configuration: OpaquePointer) {
        rd_kafka_conf_set_rebalance_cb(configuration, receiveRebalance)
    }

    /// Puts the callbacks into a configuration; `context` is what they get as their opaque.
    static func install(in configuration: OpaquePointer, context: UnsafeMutableRawPointer, oauth: Bool) {
        rd_kafka_conf_set_opaque(configuration, context)
        rd_kafka_conf_set_log_cb(configuration, receiveLog)
        rd_kafka_conf_set_error_cb(configuration, receiveError)
        if oauth {
            rd_kafka_conf_enable_sasl_queue(configuration, 1)
            rd_kafka_conf_set_oauthbearer_token_refresh_cb(configuration, refreshToken)
        }
    }

    fileprivate static func from(_ opaque: UnsafeMutableRawPointer?) -> KafkaCallbacks? {
        opaque.map { Unmanaged<KafkaCallbacks>.fromOpaque($0).takeUnretainedValue() }
    }

    fileprivate func log(_ level: Int32, _ facility: String, _ text: String) {
        // librdkafka mends by itself what it calls an error (3); only 0 to 2 say that it cannot go on.
        let level: Logger.Level =
            switch level {
            case ...2: .error
            case 3, 4: .warning
            case 5, 6: .info
            default: .debug
            }
        logger.log(level: level, "librdkafka: \(KafkaFailure.oneLine(text))", metadata: ["facility": "\(facility)"])
    }

    /// Hands the token of the file to librdkafka, or says why there is none.
    fileprivate func refresh(_ client: OpaquePointer) {
        guard let oauthTokenFile else { return }
        var text = [CChar](repeating: 0, count: 256)
        do throws(KafkaFailure) {
            let token = try OAuthToken(path: oauthTokenFile)
            let expiry = token.expiry ?? wallMilliseconds() + 75_000
            let code = rd_kafka_oauthbearer_set_token(client, token.text, expiry, "dataflow", nil, 0, &text, text.count)
            guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaFailure(code, cString(text)) }
        } catch {
            add(error)
            rd_kafka_oauthbearer_set_token_failure(client, error.message)
        }
    }

    private func wallMilliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

private func receiveLog(
    _ client: OpaquePointer?, _ level: Int32, _ facility: UnsafePointer<CChar>?, _ text: UnsafePointer<CChar>?
) {
    guard let client, let facility, let text, let callbacks = KafkaCallbacks.from(rd_kafka_opaque(client)) else {
        return
    }
    callbacks.log(level, String(cString: facility), String(cString: text))
}

private func receiveError(
    _ client: OpaquePointer?, _ code: Int32, _ reason: UnsafePointer<CChar>?, _ opaque: UnsafeMutableRawPointer?
) {
    let text = reason.map { String(cString: $0) }
    KafkaCallbacks.from(opaque)?.add(KafkaFailure(rd_kafka_resp_err_t(code), text))
}

private func receiveRebalance(
    _ client: OpaquePointer?, _ code: rd_kafka_resp_err_t,
    _ partitions: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?, _ opaque: UnsafeMutableRawPointer?
) {
    guard let client, let callbacks = KafkaCallbacks.from(opaque) else { return }
    let list = partitions.map { KafkaPartitionList(copying: $0).entries.map(\.partition) } ?? []
    switch code {
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS: callbacks.add(.assigned(list))
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
        callbacks.add(.revoked(list, isLost: rd_kafka_assignment_lost(client) != 0))
    default:
        callbacks.add(KafkaFailure(code))
        callbacks.add(.revoked(list, isLost: true))
    }
}

private func refreshToken(
    _ client: OpaquePointer?, _ settings: UnsafePointer<CChar>?, _ opaque: UnsafeMutableRawPointer?
) {
    guard let client else { return }
    KafkaCallbacks.from(opaque)?.refresh(client)
}
