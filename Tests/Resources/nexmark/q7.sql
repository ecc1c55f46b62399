select b.auction, b.bidder, b.price, b.date_time, b.extra
from bid b join (
  select max(price) as maxprice, date_bin('10 seconds', date_time, '1970-01-01Z') + interval '10 seconds' as endtime
  from bid group by 2
) b1 on b.price = b1.maxprice
where b.date_time between b1.endtime - interval '10 seconds' and b1.endtime
