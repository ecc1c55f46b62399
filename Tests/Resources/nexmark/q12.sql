-- Windows of processing time are never the same: what is compared are the sums.
select bidder, count(*) as bid_count from bid group by bidder
