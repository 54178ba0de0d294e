"""Every way in which people write the address of a store, right or wrong; each holds a secret in one or two parts."""

from __future__ import annotations

from typing import Final

ONE: Final = "alphaRay"
TWO: Final = "betaRay"
PARTS: Final = (ONE, TWO)
_PLACE: Final = "127.0.0.1:1"  # no process listens there

# Refused when an instance is made: they cannot be read, or could be read in two ways.
UNREADABLE: Final = {
    "template in brackets": f"postgresql://postgres:[{ONE}]@{_PLACE}/postgres",
    "bracket opens": f"postgresql://u:{ONE}[{TWO}@{_PLACE}/d",
    "bracket closes": f"postgresql://u:{ONE}]{TWO}@{_PLACE}/d",
    "account of": f"postgresql://u:{ONE}\u2100{TWO}@{_PLACE}/d",
    "full-width at": f"postgresql://u:{ONE}\uff20{TWO}@{_PLACE}/d",
    "full-width slash": f"postgresql://u:{ONE}\uff0f{TWO}@{_PLACE}/d",
    "at": f"postgresql://u:{ONE}@{TWO}@{_PLACE}/d",
    "slash": f"postgresql://u:{ONE}/{TWO}@{_PLACE}/d",
    "slash after digits": f"postgresql://{ONE}:12/{TWO}@{_PLACE}/d",
    "question mark": f"postgresql://u:{ONE}?{TWO}@{_PLACE}/d",
    "question mark after digits": f"postgresql://{ONE}:12?{TWO}=x@{_PLACE}/d",
    "hash": f"postgresql://u:{ONE}#{TWO}@{_PLACE}/d",
    "hash after digits": f"postgresql://{ONE}:12#{TWO}@{_PLACE}/d",
    "space": f"postgresql://u:{ONE} {TWO}@{_PLACE}/d",
    "newline": f"postgresql://u:{ONE}\n{TWO}@{_PLACE}/d",
    "surrogate": f"postgresql://u:{ONE}\udc80{TWO}@{_PLACE}/d",
    "percent alone": f"postgresql://u:{ONE}%@{_PLACE}/d",
    "percent and letters": f"postgresql://u:{ONE}%zz{TWO}@{_PLACE}/d",
    "percent, no text": f"postgresql://u:{ONE}%ff{TWO}@{_PLACE}/d",
    "IPv6 without its end": f"postgresql://u:{ONE}@[::1/d",
    "IPv6 without its beginning": f"postgresql://u:{ONE}@::1]/d",
    "IPv6 that is none": f"postgresql://u:{ONE}@[{TWO}]/d",
    "bracket alone": f"postgresql://u:{ONE}@[",
    "port of letters": f"postgresql://u:{ONE}@127.0.0.1:{TWO}/d",
    "port too large": f"postgresql://u:{ONE}@127.0.0.1:99999/d",
    "port of Arabic digits": f"postgresql://u:{ONE}@127.0.0.1:\u0661\u0662/d",
    "host with two dots": f"postgresql://u:{ONE}@a..b/d",
    "host too long": f"postgresql://u:{ONE}@{'a' * 300}/d",
    "host with an ellipsis": f"postgresql://u:{ONE}@a\u2026/d",
    "host with a space": f"postgresql://u:{ONE}@a b/d",
    "quotation marks": f'"postgresql://u:{ONE}@{_PLACE}/d"',
    "other scheme": f"mysql://u:{ONE}@{_PLACE}/d",
    "driver in the scheme": f"postgresql+asyncpg://u:{ONE}@{_PLACE}/d",
    "one slash": f"postgresql:/u:{ONE}@{_PLACE}/d",
    "no slashes": f"postgresql:u:{ONE}@{_PLACE}/d",
    "no scheme": f"u:{ONE}@{_PLACE}/d",
    "slashes only": f"//u:{ONE}@{_PLACE}/d",
    "keywords": f"host=127.0.0.1 port=1 user=u password={ONE} dbname=d",
    "keywords, password first": f"password='{ONE} {TWO}' host=127.0.0.1",
    "unknown sslmode": f"postgresql://u:{ONE}@{_PLACE}/d?sslmode={TWO}",
    "other driver's parameter": f"postgresql://u:{ONE}@{_PLACE}/d?pgbouncer={TWO}",
    "parameter without a name": f"postgresql://u:{ONE}@{_PLACE}/d?{TWO}=&=x",
    "port in the query": f"postgresql://u:{ONE}@h/d?port={TWO}",
    "file with a host": f"sqlite://u:{ONE}@h/m.db",
    "file with a query": f"sqlite:///?key={ONE}",
    "service with a password": f"https://u:{ONE}@{_PLACE}/",
    "service with brackets": f"http://u:[{ONE}]@{_PLACE}/",
    "service with a slash": f"http://u:12{ONE}/{TWO}@{_PLACE}/",
    "service with a query": f"http://{_PLACE}/?key={ONE}",
    "service with a fragment": f"http://{_PLACE}/#{ONE}",
    "service without its end": f"http://u:{ONE}@[::1",
    "service on a port of letters": f"http://u:{ONE}@127.0.0.1:{TWO}",
}
# Read, and then there is no answer.
UNREACHABLE: Final = {
    "no server there": f"postgresql://u:{ONE}@{_PLACE}/d",
    "upper case": f"POSTGRESQL://u:{ONE}@{_PLACE}/d",
    "blanks around": f" postgresql://u:{ONE}@{_PLACE}/d\n",
    "password in the query": f"postgresql://u@{_PLACE}/d?password={ONE}",
    "password without a host": f"postgresql:///d?host=127.0.0.1&port=1&user=u&password={ONE}",
    "two hosts": f"postgresql://u:{ONE}@{_PLACE},127.0.0.1:2/d?target_session_attrs=read-write",
    "encoded": f"postgresql://u:{ONE}%40%5B%2F{TWO}@{_PLACE}/d",
    "colon": f"postgresql://u:{ONE}:{TWO}@{_PLACE}/d",
    "accents": f"postgresql://u:{ONE}\u00e9{TWO}@{_PLACE}/d",
    "international host": f"postgresql://u:{ONE}@b\u00fccher.invalid/d?connect_timeout=2",
    "certificate that is missing": f"postgresql://u:{ONE}@{_PLACE}/d?sslmode=verify-full&sslrootcert=/nowhere",
    "TLS that is missing": f"postgresql://u:{ONE}@{_PLACE}/d?sslmode=require",
    "unknown parameter": f"postgresql://u:{ONE}@{_PLACE}/d?unheard_of={TWO}",
    "unknown service": f"postgresql://u:{ONE}@{_PLACE}/d?service={TWO}",
    "key of TLS": f"postgresql://u@{_PLACE}/d?sslmode=require&sslcert=/nowhere&sslkey=/nowhere&sslpassword={ONE}",
}
FORMS: Final = {**UNREADABLE, **UNREACHABLE}
