"""Upbit's titles and its list."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pumpwatch_plugins.sources.upbit import HOSTS, UPBIT, UPBIT_MARKETS, parse, parse_markets, verdict

from pumpwatch.errors import BadFrame
from pumpwatch.listing.market_rows import checked_markets
from pumpwatch.listing.validation import checked_rows
from pumpwatch.model import Notice
from tests.corpus import needs_corpus, rows
from tests.listing.board_server import listing_of, row

KINDS = {"krw_listing", "non_krw_listing", "delisting", "warning", "maintenance", "event", "other"}

# title, symbols with a KRW market, needs_body
KRW_LISTINGS = [
    ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE", False),
    ("오덜리(ORDER) KRW 마켓 디지털 자산 추가", "ORDER", False),
    ("KRW, BTC 마켓 디지털 자산 추가 (ARB)", "ARB", False),
    ("원화 마켓 디지털 자산 추가 (도지코인 DOGE)", "DOGE", False),
    ("Market Support for Meteora(MET2) (KRW, BTC, USDT Market)", "MET2", False),
    ("Market Support for Celestia(TIA)(KRW, BTC, USDT market), io.net(IO)(BTC, USDT market)", "TIA", False),
    ("Market Support for ACS, GO (KRW Market)", "ACS GO", False),
    # spelling: full-width, no spaces, other separators, other order
    ("카이트（KITE）　신규거래지원안내（KRW,BTC,USDT마켓）", "KITE", False),
    ("카이트 (KITE)  신규 거래 지원  안내(BTC, USDT, KRW 마켓)", "KITE", False),
    ("[거래] [긴급] 카이트(KITE) KRW마켓 디지털자산추가", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW·BTC 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW/BTC/USDT 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW 및 BTC 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW 마켓, BTC 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 (KRW, BTC, USDT 마켓) 안내", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 [KRW, BTC 마켓]", "KITE", False),
    ("[신규 거래지원 안내] 카이트(KITE) (KRW, BTC 마켓)", "KITE", False),
    ("원화(KRW) 마켓 디지털 자산 추가 (SOL)", "SOL", False),
    # tickers: one letter, digits first, Latin in the name, a market's name, mixed case, name with parentheses
    ("신퓨처스(F) 신규 거래지원 안내 (KRW, USDT 마켓)", "F", False),
    ("제로지(0G) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "0G", False),
    ("KRW, BTC 마켓 디지털 자산 추가 (1INCH)", "1INCH", False),
    ("소닉SVM(SONIC) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "SONIC", False),
    ("에스피엑스6900(SPX) KRW 마켓 디지털 자산 추가", "SPX", False),
    ("테더(USDT) KRW 마켓 디지털 자산 추가", "USDT", False),
    ("KRW 마켓 디지털 자산 추가 (USDT)", "USDT", False),
    ("에테나유에스디(USDe) 신규 거래지원 안내 (KRW 마켓)", "USDE", False),
    ("엑스알피(리플)(XRP) KRW 마켓 디지털 자산 추가", "XRP", False),
    ("월드코인 WLD KRW 마켓 디지털 자산 추가", "WLD", False),
    # several coins: own lists, reversed names, one list that may be a union, one market that cannot be one
    ("셀레스티아(TIA)(KRW, BTC, USDT 마켓), 아이오넷(IO)(BTC, USDT 마켓) 신규 거래지원 안내 (주문 타입 제한 안내)",
     "TIA", False),
    ("라이브피어(LPT)(KRW, USDT 마켓), 포켓네트워크(POKT)(KRW 마켓) 디지털 자산 추가", "LPT POKT", False),
    ("에이(AAA), 씨(CCC) KRW 마켓, 비(BBB) USDT 마켓 디지털 자산 추가", "AAA CCC", False),
    ("에이(AAA)(KRW 마켓) 및 비(BBB)(USDT 마켓) 신규 거래지원 안내", "AAA", False),
    ("PUFFER(퍼퍼), SWELL(스웰네트워크) 신규 거래지원 안내 (KRW 마켓) (SWELL 국문명 변경 안내)", "PUFFER SWELL", False),
    ("KRW 마켓 신규 거래지원 안내 (AAA, BBB)", "AAA BBB", False),
    ("빅타임(BIGTIME), 아카시네트워크(AKT) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "BIGTIME AKT", True),
    ("KRW, USDT 마켓 신규 거래지원 안내 (에이(AAA), 비(BBB))", "AAA BBB", True),
    # remarks may say anything
    ("커널다오(KERNEL) 신규 거래지원 안내 (KRW, BTC 마켓) (업비트 ATH 이벤트 안내)", "KERNEL", False),
    ("헤미(HEMI) 신규 거래지원 안내 (KRW 마켓) (헤미(HEMI) 거래지원 취소 안내)", "HEMI", False),
    ("밸런스(EPT) 신규 거래지원 안내 (KRW 마켓)(거래지원 종료 관련 안내)(유의 종목 안내)", "EPT", False),
    ("KRW, BTC 마켓 디지털 자산 추가 (T) 및 이에 따른 NU 유의 종목 지정 안내 (NU <> T 스왑 사이트 추가 안내)",
     "T", False),
    ("KRW, BTC 마켓 디지털 자산 추가 (T) 및 누사이퍼(NU) 유의 종목 지정 안내", "T", False),
    # a title that a typing error spoilt is still a listing, of an unknown coin
    ("카이트(KITE 신규 거래지원 안내 (KRW 마켓)", "", True),
    # retired wordings
    ("원화 마켓 신규 상장 시빅(CVC), 에브리피디아(IQ)", "CVC IQ", False),
    ("원화 마켓 신규 상장 : (가스 GAS, 온톨로지가스 ONG)", "GAS ONG", False),
    ("코스모스(ATOM) 입금 오픈 (5/3 원화마켓 오픈 예정)", "ATOM", False),
    ("이더리움클래식 원화 마켓(ETC/KRW) 오픈 안내", "ETC", False),
    # wordings that may come
    ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓) (거래지원 개시 시점 변경 안내) (매도 최저가 제한 안내)",
     "KITE", False),
    ("카이트(KITE) 거래지원 안내 (KRW, USDT 마켓)", "KITE", False),
    ("카이트(KITE) KRW 마켓 추가 안내", "KITE", False),
    ("카이트(KITE) KRW 마켓 신규 추가", "KITE", False),
    ("카이트(KITE) KRW 마켓 거래지원 안내", "KITE", False),
    ("카이트(KITE) KRW 마켓 신규 거래지원", "KITE", False),
    ("카이트(KITE) 신규 거래지원 (KRW 마켓)", "KITE", False),
    ("카이트(KITE) KRW 마켓 디지털 자산 추가 안내 (거래지원 개시 시점 안내)", "KITE", False),
    ("카이트(KITE), 모나드(MON) KRW 마켓 디지털 자산 추가", "KITE MON", False),
    ("카이트(KITE), 모나드(MON) KRW, USDT 마켓 디지털 자산 추가", "KITE MON", True),
    ("카이트(KITE), 모나드(MON), 앱토스(APT) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE MON APT", True),
    ("KRW, BTC, USDT 마켓 신규 거래지원 안내 (KITE, MON, B3, 2Z)", "KITE MON B3 2Z", True),
    ("KRW 마켓 디지털 자산 추가 안내 (KITE, MON)", "KITE MON", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓) - 2026년 11월 27일", "KITE", False),
    ("[안내] 카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE", False),
    ("[업데이트] 카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE", False),
    ("(수정) 카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE", False),
    ("(변경) 카이트(KITE) 신규 거래지원 안내 (KRW 마켓)", "KITE", False),
    ("카이트(KITE) 신규거래지원 안내(KRW,BTC,USDT 마켓)(거래지원 개시 시점 연기 안내)", "KITE", False),
    ("카이트（ＫＩＴＥ） 신규 거래지원 안내 （ＫＲＷ， ＢＴＣ 마켓）", "KITE", False),
    ("카이트 ( KITE ) 신규 거래지원 안내 ( KRW , BTC , USDT 마켓 )", "KITE", False),
    ("카이트(KITE)\u200b 신규 거래지원 안내 (KRW,\u00a0BTC, USDT\u00a0마켓)", "KITE", False),
    ("\ufeff카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE", False),
    ("카이트(KITE) 신규\u200b거래지원 안내 (KRW\u200b, BTC 마켓)", "KITE", False),
    ("카이트(KI\u200bTE) 신규 거래지원 안내 (KRW, BTC 마켓)", "KITE", False),
    ("카이트(KITE)신규 거래지원 안내(KRW 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래 지원 안내 (원화, BTC, USDT 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 KRW, BTC, USDT 마켓", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 : KRW, BTC, USDT 마켓", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT, USDC 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW, USDC 마켓)", "KITE", False),
    ("카이트(KITE) KRW, USDC 마켓 디지털 자산 추가", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW/BTC/USDT)", "KITE", False),
    ("카이트 프로토콜(Kite Protocol, KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE", True),
    ("카이트(구 에어로)(KITE) 신규 거래지원 안내 (KRW 마켓)", "KITE", False),
    ("카이트(KITE)(구 AERO) 신규 거래지원 안내 (KRW 마켓)", "KITE", False),
    ("에이아이16제트(AI16Z) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "AI16Z", False),
    ("유에스디코인(USDC), 유에스디원(USD1) KRW 마켓 디지털 자산 추가", "USDC USD1", False),
    ("비트코인캐시(BCH) KRW 마켓 디지털 자산 추가 (KRW 마켓 거래지원 개시 시점 변경 안내)", "BCH", False),
    ("카이트(KITE) KRW 마켓, 모나드(MON) BTC, USDT 마켓 디지털 자산 추가", "KITE", False),
    ("카이트(KITE) BTC, USDT 마켓, 모나드(MON) KRW 마켓 신규 거래지원 안내", "MON", False),
    ("카이트(KITE)(KRW, BTC, USDT 마켓), 모나드(MON)(USDT 마켓), 제로지(0G)(KRW 마켓) 신규 거래지원 안내", "KITE 0G", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW 마켓) 및 모나드(MON) 디지털 자산 추가 (USDT 마켓)", "KITE", False),
    ("모나드(MON) 거래지원 종료 및 카이트(KITE) 신규 거래지원 안내 (KRW 마켓)", "KITE", False),
    ("Market Support for Kite(KITE) (KRW, BTC, USDT Market)", "KITE", False),
    ("Market Support for Kite (KITE), Monad (MON) (KRW, BTC, USDT Market)", "KITE MON", True),
    ("Market Support for Kite(KITE) (KRW, BTC, USDT Market) (Change of Trading Support Commencement Time)", "KITE", False),
    ("New Market Support: Kite(KITE) (KRW, USDT Market)", "KITE", False),
    ("Additional Market Support for Kite(KITE) (KRW Market)", "KITE", False),
    ("카이트(KITE) KRW 마켓 거래지원 안내 (거래지원 개시 시점 변경 안내)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 (KRW, BTC, USDT 마켓) 및 모나드(MON) 거래지원 종료 안내", "KITE", False),
    ("모나드(MON) KRW 마켓 거래지원 종료 및 카이트(KITE) KRW 마켓 디지털 자산 추가", "KITE", False),
    ("KRW 마켓 디지털 자산 추가 (KITE), USDT 마켓 디지털 자산 추가 (MON)", "KITE", False),
    ("카이트(KITE) KRW 마켓 디지털 자산 추가 및 모나드(MON) USDT 마켓 디지털 자산 추가", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓) (MON 거래지원 종료 안내)", "KITE", False),
    ("[공지] KITE KRW 마켓 디지털 자산 추가", "KITE", False),
    ("KITE, MON KRW 마켓 디지털 자산 추가", "KITE MON", False),
    ("KRW 마켓 디지털 자산 추가 : 카이트(KITE), 모나드(MON)", "KITE MON", False),
    ("KRW 마켓 디지털 자산 추가 안내 - 카이트(KITE)", "KITE", False),
    ("카이트(KITE) / 모나드(MON) 신규 거래지원 안내 (KRW 마켓)", "KITE MON", False),
    ("카이트(KITE) & 모나드(MON) 신규 거래지원 안내 (KRW 마켓)", "KITE MON", False),
    ("카이트(KITE) 외 2종 신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE", False),
    ("카이트(KITE) 등 3개 디지털 자산 신규 거래지원 안내 (KRW 마켓)", "KITE", False),
    ("디지털 자산 3종 신규 거래지원 안내 (KRW 마켓)", "", True),
    ("카이트(KITE)、모나드(MON) 신규 거래지원 안내（KRW、BTC、USDT 마켓）", "KITE MON", True),
    ("카이트(KITE)  |  신규 거래지원 안내 (KRW, BTC, USDT 마켓)", "KITE", False),
    ("🚀 카이트(KITE) 신규 거래지원 안내 🚀 (KRW, BTC, USDT 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내! (KRW, BTC, USDT 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 사전 안내 (KRW 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 예정 안내 (KRW 마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (krw, btc, usdt 마켓)", "KITE", False),
    ("카이트($KITE) 신규 거래지원 안내 (KRW 마켓)", "KITE", False),
    ("카이트(KITE.E) 신규 거래지원 안내 (KRW 마켓)", "", True),
    ("카이트(KITE) 신규 거래지원 안내 (KRW마켓, BTC마켓, USDT마켓)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (KRW Market, BTC Market)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 <KRW, BTC, USDT 마켓>", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 「KRW, BTC 마켓」", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (마켓: KRW, BTC, USDT)", "KITE", False),
    ("카이트(KITE) 신규 거래지원 안내 (거래 마켓 : KRW, BTC, USDT)", "KITE", False),
    ("카이트(KITE) KRW 마켓 신규 거래지원 안내 (BTC, USDT 마켓 기존 거래지원)", "KITE", False),
    ("카이트(KITE) KRW 페어 추가 안내", "KITE", False),
    ("카이트(KITE) 신규 상장 안내 (KRW 마켓)", "KITE", False),
    ("카이트(KITE) 디지털 자산 신규 추가 (KRW 마켓)", "KITE", False),
    ("카이트(KITE) 가상자산 추가 (KRW 마켓)", "KITE", False),
    ("카이트(KITE) KRW 마켓 가상자산 신규 추가 안내", "KITE", False),
    ("엔비디아 토큰증권(NVDAX) 신규 거래지원 안내 (KRW 마켓)", "NVDAX", False),
    ("테더골드(XAUT) 신규 거래지원 안내 (KRW, BTC, USDT 마켓) (가격 단위 안내)", "XAUT", False),
    ("카이트(KITE) 메인넷 전환에 따른 신규 거래지원 안내 (KRW 마켓)", "KITE", False),
]

OTHERS = [
    ("넥소(NEXO) 신규 거래지원 안내 (USDT 마켓) (거래지원 개시 시점 변경 안내)", "non_krw_listing"),
    ("인피닛(IN) BTC, USDT 마켓, 비쓰리(B3) USDT 마켓 신규 거래지원 안내", "non_krw_listing"),
    ("BTC, USDT 마켓 신규 거래지원 안내 (AAA, BBB, CCC)", "non_krw_listing"),
    ("엔진코인(ENJ) KRW 마켓 거래지원 종료(10/10 18:00) 및 BTC 마켓 디지털 자산 추가", "non_krw_listing"),
    ("엔진코인(ENJ) KRW 마켓 거래지원 종료(10/10 18:00) 및 BTC 마켓 유의 종목 지정 해제 안내", "delisting"),
    ("알트(ALT), 폭(POKT) 거래지원 종료 안내 (KRW, BTC 마켓)", "delisting"),
    ("Termination of Market Support for Rally(RLY) (KRW Market)", "delisting"),
    ("썸씽(SSX) 거래지원 종료 안내 (3/12 15:00) (출금 재개 안내)", "delisting"),
    ("퀴즈톡(QTCON) 거래 유의 종목 지정 안내", "warning"),
    ("리퍼리움(RFR) 유의 종목 지정 해제 안내 (입금 오픈 12/04 12:00~)", "warning"),
    ("엔진코인(ENJ) 메인넷 전환 및 유의 종목 지정에 따른 입출금 중단 안내", "maintenance"),
    ("은행 점검에 따른 원화 마켓 입출금 서비스 일시 중단 안내", "maintenance"),
    ("[이벤트] 프로메테우스(PROM) 원화마켓 오픈 이벤트 : TOP 트레이딩 이벤트", "event"),
    ("[이벤트] 솜니아(SOMI) 신규 거래지원 안내 (KRW 마켓)", "event"),
    ("솜니아(SOMI) KRW 마켓 디지털 자산 추가 기념 이벤트", "event"),
    ("솜니아(SOMI) 거래지원 기념, 총 상금 900,000 SOMI 상당 TOP 트레이딩 이벤트! (이벤트 종료)", "event"),
    ("비트코인 거래하고 TOP 트레이더가 되어보세요 (이벤트 종료)", "event"),
    ("불공정거래 예방조치 제도 안내", "other"),
    ("카이트(KITE) 신규 거래지원 안내 (BTC, USDT 마켓)", "non_krw_listing"),
    ("카이트(KITE) USDT 마켓 디지털 자산 추가", "non_krw_listing"),
    ("카이트(KITE), 모나드(MON) BTC 마켓 디지털 자산 추가", "non_krw_listing"),
    ("카이트(KITE) 신규 거래지원 안내 (BTC, USDT 마켓) (KRW 입금 이벤트 안내)", "non_krw_listing"),
    ("카이트(KITE) 신규 거래지원 안내 (BTC, USDT 마켓) (KRW 마켓 거래지원 미정 안내)", "non_krw_listing"),
    ("Market Support for Kite(KITE) (BTC, USDT Market)", "non_krw_listing"),
    ("크로네(KRWX) 신규 거래지원 안내 (USDT 마켓)", "non_krw_listing"),
    ("케이알더블유원(KRW1) 신규 거래지원 안내 (BTC, USDT 마켓)", "non_krw_listing"),
    ("카이트(KITE) KRW 마켓 거래지원 종료 안내 (12/15 15:00)", "delisting"),
    ("카이트(KITE), 모나드(MON) 거래지원 종료 안내 (KRW, BTC 마켓) (12/15 15:00)", "delisting"),
    ("카이트(KITE) 신규 거래지원 취소 안내", "other"),
    ("카이트(KITE) 신규 거래지원 종료 안내 (KRW 마켓)", "delisting"),
    ("카이트(KITE) KRW 마켓 거래지원 중단 안내", "maintenance"),
    ("KRW 마켓 호가 단위 변경 안내", "other"),
    ("KRW 마켓 최소 주문 금액 변경 안내", "other"),
    ("KRW 마켓 신규 주문 유형 추가 안내", "other"),
    ("KRW 마켓 예약 주문 기능 추가 안내", "other"),
    ("USDT 마켓 기능 추가 안내 (KRW 마켓 제외)", "other"),
    ("카이트(KITE) 유의 종목 지정 안내 (KRW, BTC 마켓)", "warning"),
    ("카이트(KITE) 거래 유의 종목 지정 기간 연장 안내 (KRW 마켓)", "warning"),
    ("[이벤트] 카이트(KITE) 신규 거래지원 기념 에어드랍 이벤트 (KRW 마켓)", "event"),
    ("카이트(KITE) KRW 마켓 신규 거래지원 기념 거래 이벤트 안내", "event"),
    ("카이트(KITE) 신규 거래지원 안내 이벤트 (KRW 마켓)", "event"),
    ("카이트(KITE) 디지털 자산 추가 이벤트 당첨자 안내 (KRW 마켓)", "event"),
    ("카이트(KITE) 네트워크 업그레이드에 따른 입출금 중단 안내 (KRW 마켓 거래 가능)", "maintenance"),
    ("카이트(KITE) 심볼 변경에 따른 KRW 마켓 거래 중단 안내", "maintenance"),
    ("카이트(KITE) 입출금 네트워크 추가 안내 (KRW 마켓)", "other"),
    ("카이트(KITE) 스테이킹 지원 안내", "other"),
    ("디지털 자산 추가 입출금 지원 안내 (KITE)", "other"),
    ("카이트(KITE) 디지털 자산 명칭 변경 안내 (KRW, BTC 마켓)", "other"),
    ("신규 거래지원 디지털 자산 심사 절차 안내 (KRW 마켓)", "other"),
    ("신규 거래지원 관련 투자 유의 사항 안내 (KRW 마켓)", "other"),
    ("카이트(KITE) 신규 거래지원 관련 매수 주문 제한 안내 (KRW 마켓)", "other"),
    ("Termination of Trading Support for Kite(KITE) (KRW Market)", "delisting"),
    ("[Event] Market Support for Kite(KITE) (KRW Market) Celebration", "event"),
    ("비트코인 골드(BTG) KRW 마켓 추가 거래지원 종료 안내", "delisting"),
    ("USDT 마켓 거래지원 종료 및 USDC 마켓 신규 거래지원 안내 (KITE, MON)", "non_krw_listing"),
    ("카이트(KITE) KRW 마켓 거래지원 개시 시점 변경 안내", "other"),
    ("카이트(KITE) KRW 마켓 거래지원 연기 안내", "other"),
    ("카이트(KITE) KRW 마켓 추가 상장 기념 이벤트 안내", "event"),
    ("카이트(KITE) KRW 마켓 추가 이벤트", "event"),
    ("카이트(KITE) BTC, USDT 마켓 디지털 자산 추가 (KRW 마켓 추가 예정 안내)", "non_krw_listing"),
    ("모나드(MON) → 카이트(KITE) 심볼 변경에 따른 KRW 마켓 거래지원 안내", "other"),
    ("카이트(KITE) KRW, BTC, USDT 마켓 거래 일시 중단 안내", "maintenance"),
    ("카이트(KITE) 거래지원 유지 결정 안내 (KRW 마켓)", "other"),
    ("카이트(KITE) 거래지원 심사 결과 안내 (KRW 마켓)", "other"),
    ("코인 모으기 디지털 자산 추가 안내 (KITE, MON)", "other"),
    ("코인 모으기 디지털 자산 추가 (KRW 마켓 KITE)", "other"),
    ("스테이킹 디지털 자산 추가 안내", "other"),
    ("KRW 마켓 코인 모으기 디지털 자산 추가 안내 (KITE, MON)", "other"),
    ("", "other"),
]


@pytest.mark.parametrize(("title", "symbols", "needs_body"), KRW_LISTINGS)
def test_a_krw_listing_is_seen_with_its_coins(title: str, symbols: str, needs_body: bool) -> None:
    found = verdict(title)
    assert (found.kind, set(found.symbols), found.needs_body) == ("krw_listing", set(symbols.split()), needs_body)
    assert all("KRW" in found.markets[symbol] for symbol in found.symbols)


@pytest.mark.parametrize(("title", "kind"), OTHERS)
def test_other_notices_open_no_krw_market(title: str, kind: str) -> None:
    found = verdict(title)
    assert (found.kind, found.symbols) == (kind, ())


def test_remarks_are_classified_and_name_their_coin() -> None:
    found = verdict("에이(AAA), 비(BBB) 신규 거래지원 안내 (KRW 마켓) (BBB 거래지원 개시 시점 연기 안내) "
                    "(에이(AAA) 거래지원 취소 안내) (매도 최저가 기준 가격 안내) (알림)")
    assert found.notes == ("postponed+start_time:BBB", "cancelled:AAA", "price_band", "other")


def test_a_listing_without_a_market_list_needs_its_body() -> None:
    found = verdict("카이트(KITE) 신규 거래지원 안내")
    assert (found.kind, found.needs_body) == ("non_krw_listing", True)


def read(body: bytes) -> list[Notice]:
    return [one for one in parse(body) if isinstance(one, Notice)]


@needs_corpus
def test_every_recorded_title_gets_the_kind_that_a_person_gave_it() -> None:
    confused = Counter((one["label"], verdict(one["title"]).kind) for one in rows("upbit_titles.jsonl"))
    assert {pair: count for pair, count in confused.items() if pair[0] != pair[1]} == {}
    assert {kind for _, kind in confused} == KINDS


@needs_corpus
def test_the_recorded_krw_symbols_are_found_and_only_unions_have_more_and_need_the_body() -> None:
    union_coins = 0
    for one in rows("upbit_titles.jsonl"):
        found = verdict(one["title"])
        if one["label"] != "krw_listing":
            assert found.symbols == ()
            continue
        more = set(found.symbols) - set(one["symbols"])
        assert set(one["symbols"]) <= set(found.symbols), one["title"]
        assert not more or found.needs_body, one["title"]
        union_coins += len(more)
    assert union_coins == 8  # MASK, YGG, IMX, GAL, ALT, POKT, BIGTIME, OMNI: listed with KRW only later


def test_the_list_is_read_with_first_publication_and_edit_apart() -> None:
    published_ns, edited_ns = 1_787_000_000 * 10**9, 1_787_009_000 * 10**9
    (notice,) = read(listing_of([row(6496, "넥소(NEXO) 신규 거래지원 안내 (USDT 마켓)", published_ns, edited_ns)]))
    assert (notice.notice_id, notice.category) == ("6496", "거래")
    assert (notice.published_at_ns, notice.updated_at_ns) == (published_ns, edited_ns)
    assert notice.url == f"https://upbit.com/service_center/notice?id={6496 * 7919}"


def test_pinned_rows_and_events_are_left_out_and_unknown_categories_kept() -> None:
    body = listing_of([row(1, "가", 10**18, category="이벤트"), row(2, "나", 10**18, category="새로운 분류")])
    assert [notice.notice_id for notice in read(body)] == ["2"]


def test_a_list_without_uuid_links_by_id() -> None:
    one: dict[str, Any] = row(77, "가", 10**18)
    del one["uuid"], one["need_new_badge"]
    (notice,) = read(listing_of([one]))
    assert notice.url.endswith("id=77")


@pytest.mark.parametrize("body", [
    b"", b"<html>Just a moment...</html>", b"[]", b"null", b"{}", b'{"success":true}', b'{"success":true,"data":{}}',
    b'{"success":false,"error_message":"Bad request"}', b'{"success":true,"data":{"notices":[{"id":"x"}]}}',
    b"\xff\xfe", listing_of([row(1, "가", 0) | {"first_listed_at": "yesterday"}]),
    listing_of([row(1, "가", 0) | {"first_listed_at": "2026-01-01T00:00:00"}]),
])
def test_anything_but_the_list_is_refused_and_never_an_empty_list(body: bytes) -> None:
    with pytest.raises(BadFrame):
        parse(body)


def test_a_row_that_cannot_be_read_costs_no_other() -> None:
    good = row(1, "가", 10**18)
    odd: list[Any] = [None, 7, {}, good | {"id": "x"}, good | {"title": None}, good | {"listed_at": "yesterday"},
                      good | {"first_listed_at": "2026-01-01T00:00:00"}, good | {"first_listed_at": "10000-01-01T00:00:00Z"}]
    rows = parse(listing_of([*odd, good | {"id": 2}]))
    assert [type(one) for one in rows] == [BadFrame] * len(odd) + [Notice]


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59-09:00", "0001-01-01T00:00:00+09:00", "2500-01-01T00:00:00+09:00"])
def test_a_date_that_nobody_means_is_read_and_left_to_the_border(stamp: str) -> None:
    now_ns = 1_787_000_000 * 10**9
    body = listing_of([row(1, "가", now_ns) | {"first_listed_at": stamp}, row(2, "나", now_ns)])
    rows = checked_rows(UPBIT, body, now_ns)
    assert ([one.notice_id for one in rows.notices], len(rows.rejected)) == (["2"], 1)


def test_the_markets_in_won_are_those_that_count() -> None:
    body = b'[{"market":"KRW-BTC","market_event":{"warning":false}},{"market":"BTC-ETH"},{"market":7},{"market":"KRW-0G"}]'
    found = checked_markets(UPBIT_MARKETS, body, 0)
    assert (found.coins, len(found.rejected)) == ({"KRW-BTC": "BTC", "KRW-0G": "0G"}, 1)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b"[1]", b'[{"market":"KRW-BTC"},{"mar', b"[" * 100_000])
def test_anything_but_the_markets_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_markets(body)


def test_it_is_asked_politely_and_in_korean() -> None:
    for source in (UPBIT, UPBIT_MARKETS):
        assert source.pace is not None and min(source.interval_s, source.pace.quick_s, source.pace.night_s) >= 2
    assert "Origin" not in UPBIT_MARKETS.headers  # it would slow the trading API down to a request in 10 s
    assert UPBIT.headers["Accept-Language"].startswith("ko-KR")
    assert [host in url for host, url in zip(HOSTS, (UPBIT.url, *UPBIT.fallback_urls), strict=True)] == [True, True]
    assert "api.upbit.com" not in UPBIT.url + "".join(UPBIT.fallback_urls)


def test_the_title_of_a_drill_is_a_krw_listing() -> None:
    found = UPBIT.verdict(UPBIT.drill_title.replace("{coin}", "1INCH"))
    assert (found.kind, found.symbols, found.needs_body) == ("krw_listing", ("1INCH",), False)
