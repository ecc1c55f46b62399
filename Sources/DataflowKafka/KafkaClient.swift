internal import CKafka
package import DataflowOperator
package import Logging

/// Owns librdkafka's client (`rd_kafka_t`): a consumer or a producer, its callbacks and its calls about the cluster.
///
/// Not Sendable: it stays with the operator that made it, on the operator's own thread; the calls block. librdkafka's own
/// threads see only the callbacks' context.
package final class KafkaClient {
    package enum Role {
        /// `member`: a consumer that subscribes, and answers ``KafkaClient/takeRebalances()``.
        case consumer, member, producer

        fileprivate var type: rd_kafka_type_t {
            switch self {
            case .consumer, .member: RD_KAFKA_CONSUMER
            case .producer: RD_KAFKA_PRODUCER
            }
        }
    }

    /// librdkafka's client, for calls that only one operator needs. Never to be kept beyond this object.
    package let handle: OpaquePointer
    /// The brokers as they were configured, for messages.
    package let brokers: String
    private let callbacks: KafkaCallbacks
    private let context: Unmanaged<KafkaCallbacks>

    /// Makes a client. Starts librdkafka's threads, which connect in the background: nothing is waited for.
    ///
    /// - Parameter configure: sets further callbacks or events of librdkafka's configuration. The opaque is ours.
    /// - Throws: `invalid_configuration` where librdkafka does not take the settings, such as a missing certificate.
    package init(
        _ role: Role, _ settings: KafkaSettings, logger: Logger, configure: (OpaquePointer) -> Void = { _ in }
    ) throws(OperatorError) {
        let configuration = try settings.makeConfiguration()
        callbacks = KafkaCallbacks(logger: logger, oauthTokenFile: settings.oauthTokenFile)
        context = .passRetained(callbacks)
        brokers = settings.brokers
        let usesOAuth = settings.oauthTokenFile != nil
        KafkaCallbacks.install(in: configuration, context: context.toOpaque(), oauth: usesOAuth)
        if role == .member { KafkaCallbacks.installRebalance(in: configuration) }
        configure(configuration)
        var text = [CChar](repeating: 0, count: 512)
        guard let handle = rd_kafka_new(role.type, configuration, &text, text.count) else {
            rd_kafka_conf_destroy(configuration)
            context.release()
            throw OperatorError(
                .user, .never, "invalid_configuration",
                "librdkafka cannot make a client: \(KafkaFailure.oneLine(cString(text)))")
        }
        self.handle = handle
        // Tokens are also needed while we wait in a call.
        if usesOAuth, let failure = KafkaFailure(taking: rd_kafka_sasl_background_callbacks_enable(handle)) {
            throw failure.operatorError("cannot serve the token of \(brokers)")
        }
    }

    /// Ends librdkafka's threads; may wait for what is under way. Queues and messages must have been let go.
    deinit {
        rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
        context.release()
    }

    /// Serves librdkafka's main queue, without waiting: errors of connections, and a producer's delivery reports. A
    /// consumer's messages and rebalances come by a queue of their own.
    package func poll() { rd_kafka_poll(handle, 0) }

    /// What librdkafka has reported since the last call, oldest first: connections that broke, brokers that are down,
    /// credentials that were refused. They come by ``poll()``.
    package func takeFailures() -> [KafkaFailure] { callbacks.takeFailures() }

    /// What the group's coordinator wants of a member, oldest first; it comes while the member's queue is polled. Each
    /// must be answered by `rd_kafka_assign`, `rd_kafka_incremental_assign` or `…_unassign`; the group waits for that.
    package func takeRebalances() -> [KafkaRebalance] { callbacks.takeRebalances() }

    /// The error after which the client cannot be used any more, if there was one.
    package var fatalFailure: KafkaFailure? {
        var text = [CChar](repeating: 0, count: 512)
        let code = rd_kafka_fatal_error(handle, &text, text.count)
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        var failure = KafkaFailure(code, cString(text))
        failure.isFatal = true
        return failure
    }

    /// Repeats a blocking call of librdkafka until it succeeds, fails for good, or the time is up. Ends at cancellation.
    ///
    /// - Parameters:
    ///   - doing: what is being done: `read the metadata`; messages say `cannot … of the brokers a:9092`.
    ///   - limit: how long to try altogether.
    ///   - call: gets how many milliseconds it may take: at most one second, so that a stop is noticed.
    /// - Throws: the last failure; one of the connection (`Connection refused`) where the call only ran out of time.
    package func retrying<R>(
        _ doing: String, limit: Duration, _ call: (Int32) throws(KafkaFailure) -> R
    ) throws(OperatorError) -> R {
        let deadline = ContinuousClock.now + limit
        while true {
            let failure: KafkaFailure
            do throws(KafkaFailure) {
                let result = try call(1000)
                callbacks.forgetLastFailure()
                return result
            } catch { failure = error }
            if Task.isCancelled {
                throw OperatorError(.external, .never, "cancelled", "the pipeline is being stopped")
            }
            poll()
            let connection = callbacks.lastFailure
            let isRefused = connection?.isAuthentication == true
            if !failure.isRetriable || isRefused || ContinuousClock.now >= deadline {
                let cause = failure.isUnreachable ? connection ?? failure : failure
                throw cause.operatorError("cannot \(doing) of the brokers \(brokers)")
            }
        }
    }
}
